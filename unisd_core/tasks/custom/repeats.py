"""Rows that occur twice: copies, which count once, and rows that contradict each other."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Sequence

from unisd_core.common.errors import UserError
from unisd_core.tasks.data import PLACES_NAMED, named_groups
from unisd_core.tasks.row import Row

logger = logging.getLogger(__name__)


def without_repeats(
    rows: Sequence[Row], places: Sequence[str], keep: bool, setting: str
) -> tuple[list[Row], list[str]]:
    """Rows and places without the copies, whose number is logged.

    Raises UserError naming the rows of one uid that differ, and those of one prompt (and choices)
    whose references or answers do, unless ``keep``: then rows that share a uid get a digest behind
    it. ``setting`` is how the message says to keep them.
    """
    kept: list[int] = []
    copies: list[str] = []
    by_uid: dict[str, dict[int, int]] = {}
    by_prompt: dict[tuple[str, ...], list[int]] = {}
    for index, row in enumerate(rows):
        # By the hash of its content, for a file may have one uid in all rows.
        original = by_uid.setdefault(row.uid, {}).setdefault(hash(repr(row)), index)
        if original != index:
            copies.append(f"{places[index]} of {places[original]}")
            continue
        kept.append(index)
        by_prompt.setdefault((" ".join(row.prompt.split()), *row.choices), []).append(index)
    shared = [[*group.values()] for group in by_uid.values() if len(group) > 1]
    answered = [
        group for group in by_prompt.values() if len({_answer(rows[at]) for at in group}) > 1
    ]
    if not keep:
        clashes = {tuple(group): "other reference for the prompt of" for group in answered}
        clashes |= {tuple(group): "other content under the uid of" for group in shared}
        _refuse([([places[at] for at in group], how) for group, how in clashes.items()], setting)
    if copies:
        named = ", ".join(copies[:PLACES_NAMED])
        logger.warning("exact copies of rows are left out, %d in all: %s", len(copies), named)
    found = list(rows)
    for at in (at for group in shared for at in group):
        found[at] = dataclasses.replace(rows[at], uid=f"{rows[at].uid}-{_digest(rows[at])}")
    return [found[at] for at in kept], [places[at] for at in kept]


def _answer(row: Row) -> tuple[str, str]:
    return " ".join(row.reference.split()), " ".join(row.answer.split())


def _refuse(groups: list[tuple[list[str], str]], setting: str) -> None:
    if groups:
        raise UserError(
            f"{named_groups(groups)}; {len(groups)} prompts or uids whose rows contradict each "
            f"other: correct them or set {setting}"
        )


def _digest(row: Row) -> str:
    texts = (row.prompt, row.reference, row.answer, row.hint, row.category, row.tests, *row.choices)
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:8]
