"""Training rows, less those that are set aside to choose weights by."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from unisd_core.common.errors import UserError
from unisd_core.config.run import Config
from unisd_core.tasks.base import Task
from unisd_core.tasks.row import Row


class TrainingRows(NamedTuple):
    """Two parts of the task's training split, each in its order."""

    train: list[Row]
    validation: list[Row]
    """Neither trained on nor shown as an example; empty where evaluation.eval_steps is 0."""


def split_training(task: Task, config: Config) -> TrainingRows:
    """Set evaluation.validation_rows rows aside, the same for every seed of a run.

    Raises UserError when no training row is left.
    """
    rows = task.rows("train")
    count = config.evaluation.validation_rows if config.evaluation.eval_steps else 0
    if len(rows) <= count:
        raise UserError(
            f"task {task.name}: {len(rows)} training rows are too few to set "
            f"evaluation.validation_rows={count} aside"
            if rows
            else f"task {task.name}: the training split is empty"
        )
    return TrainingRows(*set_aside(rows, count, "validation/"))


def set_aside(rows: Sequence[Row], count: int, purpose: str) -> tuple[list[Row], list[Row]]:
    """``rows`` without ``count`` of them, and these, each part in its order.

    The same rows whatever their order, and nearly the same when some are added; other ones for
    another ``purpose``.
    """

    def lot(row: Row) -> str:
        return hashlib.sha256(f"{purpose}{row.uid}".encode("utf-8", "surrogatepass")).hexdigest()

    aside = {row.uid for row in sorted(rows, key=lot)[:count]}
    return [row for row in rows if row.uid not in aside], [row for row in rows if row.uid in aside]
