"""Accuracy of completions under a task's own metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unisd_core.tasks.base import Row, Task


@dataclass(frozen=True, eq=False)
class AccuracyResult:
    """Outcome per row and its means; every rate is a fraction in [0, 1]."""

    correct_B: npt.NDArray[np.bool_]
    extracted_B: npt.NDArray[np.bool_]
    parts: Mapping[str, float]
    """Mean of each finer score over the rows that report it."""

    @property
    def accuracy(self) -> float:
        """Share of correct rows."""
        return float(self.correct_B.mean())

    @property
    def extraction_rate(self) -> float:
        """Share of rows from which an answer could be read."""
        return float(self.extracted_B.mean())


def score_completions(
    task: Task, rows: Sequence[Row], completions: Sequence[str]
) -> AccuracyResult:
    """Score ``completions[b]`` as the answer to ``rows[b]`` (method, section 6).

    Raises ValueError when the two differ in length or are empty.
    """
    if len(rows) != len(completions) or not rows:
        raise ValueError(f"{len(rows)} rows but {len(completions)} completions")
    scores = task.score_many(rows, completions)
    values: dict[str, list[float]] = {}
    for score in scores:
        for name, value in score.parts.items():
            values.setdefault(name, []).append(value)
    return AccuracyResult(
        correct_B=np.array([score.correct for score in scores], dtype=np.bool_),
        extracted_B=np.array([score.extracted for score in scores], dtype=np.bool_),
        parts={name: float(np.mean(value)) for name, value in values.items()},
    )
