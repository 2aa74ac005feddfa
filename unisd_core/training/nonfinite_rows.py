"""Rows whose numbers are NaN or infinite: found by column, counted, written down. No torch."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from unisd_core.common.columns import rows_where
from unisd_core.common.visits import LostRow

FILE = "bad_rows.jsonl"
"""In the run folder: one line per row that was lost. It is only ever appended to, also when a run
resumes: a row that is met again has a line of its own."""

LEARNED_FROM = (
    "teacher_hidden",
    "teacher_features",
    "teacher_topk_logprobs",
    "teacher_logprobs",
    "negative_logprobs",
    "logprobs",
    "token_weights",
    "sequence_weight",
)
"""Columns of ``SCORED`` with numbers that an update reads. The log-probs of the engine count where
no term reads them, too: what was sampled from such numbers is no completion."""


def sort_out(
    table: pa.Table, reasons: Sequence[str | None], version: int
) -> tuple[pa.Table, list[LostRow]]:
    """The rows without a reason, and the others."""
    if not any(reasons):
        return table, []
    keys = table.select(["uid", "position", "attempt"]).to_pylist()
    bad = [
        LostRow(**key, version=version, reason=reason)
        for key, reason in zip(keys, reasons, strict=True)
        if reason is not None
    ]
    return rows_where(table, [reason is None for reason in reasons]), bad


def write_down(run_path: Path, rows: Iterable[LostRow]) -> Path:
    """Append ``rows`` to ``bad_rows.jsonl`` of the run; returns its path."""
    path = run_path / FILE
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(dataclasses.asdict(row)) + "\n" for row in rows)
    return path


class BadBatches:
    """Counts the batches in a row that lost rows, up to ``limit``. Every worker counts the same.
    ``run_path`` is the folder in which they are written down, if they are."""

    def __init__(self, limit: int, run_path: Path | None = None) -> None:
        self.limit, self.run_path = limit, run_path
        self.in_a_row = 0

    def count(self, bad: Sequence[LostRow]) -> str | None:
        """Take note of what one batch lost. Returns why the run has to end, if it has to."""
        self.in_a_row = self.in_a_row + 1 if bad else 0
        if self.in_a_row <= self.limit:
            return None
        ((cause, rows),) = Counter(row.reason for row in bad).most_common(1)
        look = f"look at {self.run_path / FILE}, " if self.run_path else ""
        return (
            f"{self.in_a_row} batches in a row lost rows to bad numbers (of the last one {rows}: "
            f"{cause}), training.max_bad_batches is {self.limit}; {look}"
            "check the model and its dtype, or lower training.learning_rate"
        )
