"""Wrong references for the contrastive term, by rule or by the model (docs/method.md, "Wrong
references")."""

from __future__ import annotations

import random
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from unisd_core.common.errors import UserError
from unisd_core.config.method import NegativesConfig
from unisd_core.tasks.base import Task
from unisd_core.tasks.row import Row
from unisd_core.views.writing import (
    Writing,
    WritingRequest,
    WritingSettings,
    draw_seed,
    write_all,
)

_DRAWS = 8
"""Draws of the rule for each reference wanted, before fewer are accepted."""


class WrongReferences(NamedTuple):
    """Rows with a wrong ``reference`` for each row, and how they were made."""

    rows: list[list[Row]]
    counts: dict[str, int]


def wrong_references(
    rows: Sequence[Row],
    task: Task,
    settings: NegativesConfig,
    seed: int,
    writing: Writing | None = None,
    wanted: AbstractSet[str] | None = None,
) -> WrongReferences:
    """``settings.per_row`` different wrong references for each row, fewer where the task has no
    more, none where it has none.

    source=generated asks the model for the rows whose uid is in ``wanted`` (None: for all); the
    rule serves the others and stands in where the model fails. Both fill the template of the
    reference. Each row's references depend on ``seed`` and the row alone.

    Raises UserError when the model is to write and ``writing`` is None.
    """
    generated: list[list[Row]] = [[] for _ in rows]
    counts: dict[str, int] = {}
    if settings.source == "generated":
        asked = [n for n, row in enumerate(rows) if wanted is None or row.uid in wanted]
        if asked and writing is None:
            raise UserError(
                "views.negatives.source=generated needs the model to write, and no generator is at "
                "hand here; set it to rule"
            )
        if asked and writing is not None:
            counts = _generate(rows, asked, task, settings, seed, writing, generated)
    found = [
        _complete_by_rule(row, task, settings.per_row, seed, texts)
        for row, texts in zip(rows, generated, strict=True)
    ]
    made = sum(map(len, found)) - sum(map(len, generated))
    return WrongReferences(found, {**counts, "negatives.rule": made})


def _generate(
    rows: Sequence[Row],
    asked: Sequence[int],
    task: Task,
    settings: NegativesConfig,
    seed: int,
    writing: Writing,
    generated: list[list[Row]],
) -> dict[str, int]:
    """Fill ``generated`` with what the model writes for the rows ``asked``; return the counts."""
    owners: list[int] = []
    requests: list[WritingRequest[Row]] = []
    for n in asked:
        row = rows[n]
        rng = random.Random(f"{seed}:negative-kinds:{row.uid}")
        # Each row starts at another kind of error, so that one per row still covers them all.
        start = rng.randrange(1 << 16)
        for index in range(settings.per_row):
            request = task.negative_request(row, rng, start + index)
            if request is not None:
                owners.append(n)
                number = draw_seed(seed, "negative", row.uid, index)
                requests.append(WritingRequest(request.kind, request.prompt, number, request.read))
    outcome = write_all(
        requests,
        writing,
        WritingSettings(settings.temperature, settings.max_tokens, settings.retries),
    )
    for owner, value in zip(owners, outcome.values, strict=True):
        if value is not None and all(
            value.reference != other.reference for other in generated[owner]
        ):
            generated[owner].append(value)
    return dict(outcome.counts("negatives"))


def _complete_by_rule(
    row: Row, task: Task, per_row: int, seed: int, found: Sequence[Row]
) -> list[Row]:
    complete = list(found)
    rng = random.Random(f"{seed}:negative:{row.uid}")
    for _ in range(_DRAWS * per_row):
        if len(complete) >= per_row:
            break
        wrong = task.wrong_reference(row, rng)
        if wrong is None:
            break
        if all(wrong.reference != other.reference for other in complete):
            complete.append(wrong)
    return complete
