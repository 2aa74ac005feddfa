"""When the stages worked on the rows of a batch, for its line in the metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from unisd_core.reporting.spans import Span, merged

COLUMNS = {
    "generate": ("sampled_from", "sampled_until"),
    "score": ("scored_from", "scored_until"),
}
"""Columns of ``SCORED`` that say when a stage began and ended."""


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
