"""Stretches of time during which a stage was at work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

COLUMNS = {
    "generate": ("sampled_from", "sampled_until"),
    "score": ("scored_from", "scored_until"),
}
"""Columns of ``SCORED`` that say when a stage began and ended."""

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


def stage_spans(rows: pa.Table) -> dict[str, list[Span]]:
    """Unix times between which one worker's ``SCORED`` rows were sampled and scored."""
    return {
        stage: merged(
            pair
            for pair in zip(*(rows[name].to_pylist() for name in names), strict=True)
            if None not in pair
        )
        for stage, names in COLUMNS.items()
    }


def joined(
    parts: Sequence[Mapping[str, list[Span]]], **others: Iterable[Span]
) -> dict[str, list[Span]]:
    """The spans of all workers, and of ``others`` by stage, to the millisecond."""
    by_stage = {stage: [span for part in parts for span in part[stage]] for stage in COLUMNS}
    return {
        stage: [(round(begin, 3), round(end, 3)) for begin, end in merged(spans)]
        for stage, spans in {**by_stage, **others}.items()
    }
