"""Ages, lengths and costs of trained rows, added up over workers and steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from unisd_core.common.columns import inner_lengths, lengths

LARGEST = ("staleness_max", "score_memory", "learn_memory")
"""Fields of which the largest counts."""


@dataclass
class BatchTotals:
    """Sums over rows, but for ``LARGEST``; ``seconds`` is the learner's own time, and memory is the
    peak of one process in bytes. ``bad_rows`` were lost to bad numbers, from ``bad_batches``."""

    rows: int = 0
    staleness_max: int = 0
    staleness_sum: int = 0
    stale_rows: int = 0
    completion_tokens: int = 0
    truncated: int = 0
    tokens: int = 0
    scored_tokens: int = 0
    score_seconds: float = 0.0
    seconds: float = 0.0
    score_memory: int = 0
    learn_memory: int = 0
    bad_rows: int = 0
    bad_batches: int = 0

    @classmethod
    def together(cls, parts: Iterable[BatchTotals]) -> BatchTotals:
        """The total of several workers or steps."""
        total = cls()
        for part in parts:
            for field in dataclasses.fields(cls):
                mine, other = getattr(total, field.name), getattr(part, field.name)
                largest = field.name in LARGEST
                setattr(total, field.name, max(mine, other) if largest else mine + other)
        return total

    def metrics(self) -> dict[str, float]:
        """Means over the rows of a batch, for its line in the metrics."""
        return {
            "rows": self.rows,
            "staleness_mean": self.staleness_sum / self.rows,
            "staleness_max": self.staleness_max,
            "stale_fraction": self.stale_rows / self.rows,
            "completion_tokens_mean": self.completion_tokens / self.rows,
            "truncated_fraction": self.truncated / self.rows,
            "seconds_score": self.score_seconds,
            "memory_score": self.score_memory,
        }


def batch_totals(rows: pa.Table, version: int) -> BatchTotals:
    """Totals of one worker's ``SCORED`` rows, trained on by ``version``."""
    total = BatchTotals()
    columns = ["version_first", "finish_reason", "score_seconds", "score_memory"]
    sizes = zip(
        lengths(rows["prompt_ids"]),
        lengths(rows["completion_ids"]),
        inner_lengths(rows["view_ids"]),
        strict=True,
    )
    given = [rows[name].is_valid().to_pylist() for name in ("teacher_hidden", "teacher_topk_ids")]
    unscored = [not any(pair) for pair in zip(*given, strict=True)]
    plain = rows.select(columns).to_pylist()
    for row, (prompt, length, views), skipped in zip(plain, sizes, unscored, strict=True):
        age = version - row["version_first"]
        total.rows += 1
        total.staleness_max = max(total.staleness_max, age)
        total.staleness_sum += age
        total.stale_rows += age > 0
        total.completion_tokens += length
        total.truncated += row["finish_reason"] == "length"
        total.tokens += prompt + length
        total.scored_tokens += sum(view + length for view in views[skipped:])
        total.score_seconds += row["score_seconds"]
        total.score_memory = max(total.score_memory, row["score_memory"])
    return total
