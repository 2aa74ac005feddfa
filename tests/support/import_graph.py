"""The import graph of the product's own files: late and type-only imports count."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("unisd_core", "actors", "pipelines")

FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
"""Every module of the product and its file."""


def imported(path: Path) -> Iterator[str]:
    """Modules that a file names in import statements anywhere, also inside functions; what is
    imported from a package counts as a module where it is one."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{path}: relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in FILES else node.module


def file_graph() -> dict[str, set[str]]:
    """For each module the modules of the product that it imports."""
    return {name: set(imported(path)) & FILES.keys() for name, path in FILES.items()}


def first_room(module: str) -> str:
    """The first folder within its package that holds a module, as ``unisd_core.tasks``; a file
    beside the folders stands for itself."""
    return ".".join(module.split(".")[:2])


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """The nodes of some circle in order, or none."""
    done: set[str] = set()

    def walk(node: str, path: list[str]) -> list[str]:
        if node in path:
            return path[path.index(node) :]
        if node in done:
            return []
        for other in sorted(graph[node]):
            found = walk(other, [*path, node])
            if found:
                return found
        done.add(node)
        return []

    return next(filter(None, (walk(node, []) for node in sorted(graph))), [])
