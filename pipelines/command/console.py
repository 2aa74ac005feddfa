"""Console: the lines a pipeline prints for the person who runs it."""

from __future__ import annotations


def report(line: str) -> None:
    """One or more lines on standard output, at once."""
    print(line, flush=True)
