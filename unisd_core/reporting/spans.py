"""Stretches of time during which a stage was at work."""

from __future__ import annotations

from collections.abc import Iterable

Span = tuple[float, float]
"""Begin and end, Unix times in seconds."""


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same stretches in order and without overlap."""
    result: list[Span] = []
    for begin, end in sorted(spans):
        if result and begin <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((begin, end))
    return result


def busy_seconds(spans: Iterable[Span]) -> float:
    """Seconds that the stretches cover together."""
    return sum(end - begin for begin, end in merged(spans))
