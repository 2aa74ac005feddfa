"""One optimizer step over all workers that leaves out rows with bad numbers, or no step at all.

Columns are looked at first, which costs little. Rows are examined one by one only after an update
has failed: a loss that is not finite by itself is its row's fault; of a gradient it cannot be told
whose fault it is, and the whole batch is skipped. Workers decide everything from what all of them
have found, so that they take the same turns and none waits for another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from unisd_core.common.schema import not_finite
from unisd_core.common.visits import LostRow, Visit, visits_of
from unisd_core.training.nonfinite_rows import LEARNED_FROM, sort_out
from unisd_core.training.student import BadBatch, Student


@dataclass(frozen=True)
class UpdateResult:
    """What became of one batch."""

    rows: pa.Table
    """Rows of this worker that were trained on."""
    visits: list[Visit]
    """Rows of all workers that were trained on."""
    bad: list[LostRow]
    """Rows of all workers that were not."""
    sums: dict[str, float] | None
    """Sums for ``finalise_metrics`` over all workers; None: no step was taken, and weights and
    optimizer are what they were."""


def update_without_bad_rows(
    student: Student, rows: pa.Table, version: int, gather: Callable[[Any], list[Any]]
) -> UpdateResult:
    """Update ``student`` of ``version`` on this worker's ``rows`` (schema ``SCORED``).

    ``gather`` gives a value of every worker, by rank. Workers step together or not at all: where
    one has no row left the others' rows are lost with it.
    """
    bad: list[LostRow] = []
    problem: str | None = None
    looks: tuple[Callable[[pa.Table], list[str | None]], ...] = (
        lambda table: not_finite(table, LEARNED_FROM),
        lambda table: student.examine(table, version),
    )
    for look in looks:
        rows, found = sort_out(rows, look(rows), version)
        parts = gather((visits_of(rows), found))
        found = [row for _, others in parts for row in others]
        bad += found
        if problem is not None and not found:
            break
        if not all(kept for kept, _ in parts):
            problem = "skipped with its batch: a learner worker had no other row"
            break
        visits = [visit for kept, _ in parts for visit in kept]
        try:
            sums = student.update(rows, version, len(visits), gather)
        except BadBatch as error:
            problem = str(error)
        else:
            return UpdateResult(rows, visits, bad, sums)
    nothing, lost = sort_out(rows, [problem] * rows.num_rows, version)
    return UpdateResult(nothing, [], bad + [row for part in gather(lost) for row in part], None)
