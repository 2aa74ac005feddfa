"""The house rules that a reader relies on: which way imports run, and how long files are."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = [
    path
    for package in ("unisd_core", "actors", "pipelines")
    for path in sorted((ROOT / package).rglob("*.py"))
]


def imported(path: Path) -> Iterator[str]:
    """Top-level packages that a file imports anywhere, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


FORBIDDEN = {
    "unisd_core": {"actors", "pipelines", "ray", "vllm"},
    "actors": {"pipelines", "vllm"},
    "pipelines": {"vllm"},
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    allowed = {"vllm"} if path.name == "engine.py" else set()
    assert not (FORBIDDEN[package] - allowed) & set(imported(path))


def test_files_are_small() -> None:
    lengths = sorted(len(path.read_text().splitlines()) for path in FILES)
    assert lengths[-1] <= 400
    assert lengths[len(lengths) // 2] < 200


def test_nothing_is_unpickled_and_no_remote_code_is_run() -> None:
    for path in FILES:
        text = path.read_text()
        assert "pickle" not in set(imported(path)), path
        assert "trust_remote_code=True" not in text, path
        assert "torch.load" not in text, path


def test_processes_that_only_pass_messages_need_no_torch() -> None:
    modules = (
        "actors.stream.generate, actors.stream.score, actors.stream.agree, actors.generator.pool, "
        "actors.admission.gate, actors.weights.store, actors.learner.job"
    )
    code = (
        f"import sys, {modules}; sys.exit(bool({{'torch', 'transformers'}} & sys.modules.keys()))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
