"""Training rows, less those that are set aside to choose weights by."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from unisd_core.common.errors import UserError
from unisd_core.config.run import Config
from unisd_core.tasks.base import Task
from unisd_core.tasks.row import Row, question_key


class TrainingRows(NamedTuple):
    """Two parts of the task's training split, each in its order."""

    train: list[Row]
    validation: list[Row]
    """Neither trained on nor shown as an example; empty where evaluation.eval_steps is 0."""


def split_training(task: Task, config: Config) -> TrainingRows:
    """Set evaluation.validation_rows rows aside, the same for every seed of a run; see
    ``set_aside``.

    Raises UserError when no training row is left, or none could be set aside.
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
    train, validation = set_aside(rows, count, "validation/")
    if count and not validation:
        raise UserError(
            f"task {task.name}: every question is asked by more rows than "
            f"evaluation.validation_rows={count}; raise it"
        )
    return TrainingRows(train, validation)


def set_aside(rows: Sequence[Row], count: int, purpose: str) -> tuple[list[Row], list[Row]]:
    """``rows`` without ``count`` of them, and these, each part in its order.

    Rows that ask one question stay together: one with more rows than there is room for is passed
    over, so that fewer rows may be set aside, but never more. The same rows whatever their order,
    and nearly the same when some are added; other ones for another ``purpose``.
    """

    def lot(row: Row) -> str:
        return hashlib.sha256(f"{purpose}{row.uid}".encode("utf-8", "surrogatepass")).hexdigest()

    questions: dict[str, set[str]] = {}
    for row in sorted(rows, key=lot):
        questions.setdefault(question_key(row), set()).add(row.uid)
    aside: set[str] = set()
    for uids in questions.values():
        if len(aside) + len(uids) <= count:
            aside |= uids
    return [row for row in rows if row.uid not in aside], [row for row in rows if row.uid in aside]


def asked_in_training(rows: Sequence[Row], train: Sequence[Row]) -> int:
    """How many of ``rows`` ask a question that rows of ``train`` ask, too."""
    asked = set(map(question_key, train))
    return sum(question_key(row) in asked for row in rows)
