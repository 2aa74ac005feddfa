"""Traces a program may have left behind, found from outside the sandbox."""

from __future__ import annotations

import os
from pathlib import Path

from unisd_core.sandbox import Program


def marked(program: Program, marker: str) -> Program:
    """``program`` after a line that gives its process a name; forks inherit it."""
    line = f"__import__('ctypes').CDLL(None).prctl(15, b'{marker}')\n"
    return Program(line + program.candidate, program.tests)


def processes(marker: str) -> list[int]:
    """Processes of this name, dead but unreaped ones included."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "comm").read_text().strip() == marker:
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def children() -> set[str]:
    """Processes that this one has started and not reaped."""
    tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
    return {child for task in tasks for child in (task / "children").read_text().split()}
