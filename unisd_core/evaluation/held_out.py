"""Held-out rows as a model is asked them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from unisd_core.common.errors import UserError
from unisd_core.tasks.row import Row
from unisd_core.views.builder import ViewBuilder


@dataclass(frozen=True)
class HeldOutSet:
    """Held-out rows with the student's prompts, under the name they are reported by."""

    name: str
    rows: list[Row]
    prompts: list[list[int]]
    left_out: int
    """Rows of the sample whose prompt is longer than model.max_prompt_length."""


def load_test_set(builder: ViewBuilder, split: str) -> HeldOutSet:
    """A fixed sample of evaluation.rows rows of ``split`` of the builder's task; see
    ``with_prompts``."""
    task, config = builder.task, builder.config
    rows = task.rows(split)
    rows = random.Random("evaluation").sample(rows, min(config.evaluation.rows, len(rows)))
    return with_prompts(builder, f"{task.name}_{split}", rows)


def with_prompts(builder: ViewBuilder, name: str, rows: Sequence[Row]) -> HeldOutSet:
    """``rows`` with their prompts, under ``name``, less those that are too long.

    Raises UserError when no prompt fits model.max_prompt_length, and for a reference that cannot
    be right.
    """
    limit = builder.config.model.max_prompt_length
    pairs = [(row, builder.prompt(row)) for row in rows]
    fitting = [(row, ids) for row, ids in pairs if len(ids) <= limit]
    if not fitting:
        raise UserError(
            f"{name}: none of {len(pairs)} prompts has at most model.max_prompt_length={limit} "
            "tokens; raise it"
        )
    rows = [row for row, _ in fitting]
    builder.task.check_references(rows)
    return HeldOutSet(
        name,
        rows,
        [ids for _, ids in fitting],
        len(pairs) - len(fitting),
    )
