"""Prompt table: the student's prompt and every view of the rows that are trained on, made for the
rows that are asked for."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from unisd_core.common.errors import UserError
from unisd_core.common.schema import PROMPT
from unisd_core.config.run import Config
from unisd_core.tasks.row import Row
from unisd_core.views.builder import ViewBuilder, auxiliary_count
from unisd_core.views.contexts import ContextSource
from unisd_core.views.negatives import wrong_references
from unisd_core.views.writing import Writing

LIMITS = ("model.max_prompt_length", "model.max_view_length", "rollout.max_completion_length")
"""The settings that leave rows out."""
PROBED = 256
"""Rows of which at least one has to have a wrong reference where contrast is on."""


class PromptTable:
    """Token ids of the student prompt and of every view the objective needs, for each of ``rows``
    that is asked for; what was made once is kept. Safe to use from several threads.

    ``view_ids`` holds the teacher's view and ``auxiliary_count(config)`` auxiliary views,
    ``gold_ids`` the reference as a completion, and ``negative_ids``, when
    objective.contrastive.weight > 0, the teacher's view with each wrong reference. A row
    without any stays in: it only lacks the contrastive term, and all methods train on the
    same rows. A row longer than model.max_prompt_length or model.max_view_length, or, with
    rollout.gold_share > 0, with a reference longer than rollout.max_completion_length, is left
    out: ``left_out`` names that setting. A negative view that is longer is left off its row.

    ``writing`` lets the model write instructions, here and now, and wrong references; the latter
    only for the rows of the indices ``visited`` (None: all). Raises UserError when a uid
    occurs twice, and when ``writing`` is needed and missing.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        builder: ViewBuilder,
        writing: Writing | None = None,
        visited: Collection[int] | None = None,
    ) -> None:
        task, config = builder.task, builder.config
        uid, occurrences = Counter(row.uid for row in rows).most_common(1)[0] if rows else ("", 0)
        if occurrences > 1:
            raise UserError(
                f"task {task.name}: uid {uid} occurs {occurrences} times; make uids unique"
            )
        if not rows:
            raise UserError(f"task {task.name}: no row is left of 0; give it rows")
        self._rows, self._builder, self._writing = rows, builder, writing
        self._wanted = None if visited is None else {rows[index].uid for index in visited}
        self._contexts: ContextSource | None = None
        if auxiliary_count(config):
            self._contexts = ContextSource(rows, task, config.views, config.seed, writing)
        self._lock = threading.RLock()
        self._parts: list[pa.Table] = []
        self._places: dict[int, tuple[int, int]] = {}
        self._left_out: dict[str, str] = {}
        self._negatives: Counter[str] = Counter()
        self._contrasted = False

    @property
    def num_rows(self) -> int:
        """Rows that can be asked for, those that are going to be left out included."""
        return len(self._rows)

    @property
    def uids(self) -> list[str]:
        """Of all rows."""
        return [row.uid for row in self._rows]

    @property
    def made(self) -> int:
        """Rows that were made so far."""
        return len(self._places)

    @property
    def left_out(self) -> Mapping[str, str]:
        """Rows that were left out so far: the setting whose limit each exceeds, by uid."""
        with self._lock:
            return dict(self._left_out)

    @property
    def counts(self) -> Mapping[str, int]:
        """Texts made for the views so far: ``<kind>.written``, ``.cached`` and ``.failed`` where
        the model writes, ``induction.replaced`` (by solved examples) and ``negatives.rule``."""
        with self._lock:
            return {**(self._contexts.counts if self._contexts else {}), **self._negatives}

    def take(self, indices: Sequence[int]) -> pa.Table:
        """The rows of these indices in their order (schema ``PROMPT``); see ``make``."""
        with self._lock:
            self.make(indices)
            found = [self._places[index] for index in indices]
            # take copies; a slice would carry its whole part along.
            rows = [self._parts[part].take([place]) for part, place in found]
        return pa.concat_tables([PROMPT.empty_table(), *rows]).combine_chunks()

    def make(self, indices: Iterable[int]) -> None:
        """Make the rows of these indices that were not made before.

        Raises UserError when one of them cannot be used, when every row was made and none is left,
        and when contrast is on and none of many rows has a wrong reference.
        """
        with self._lock:
            new = [index for index in dict.fromkeys(indices) if index not in self._places]
            if not new:
                return
            entries = self._entries(new)
            for place, index in enumerate(new):
                self._places[index] = (len(self._parts), place)
            self._parts.append(pa.Table.from_pylist(entries, schema=PROMPT))
            self._left_out |= {one["uid"]: one["left_out"] for one in entries if one["left_out"]}
            self._check()

    def _entries(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        builder, config = self._builder, self._builder.config
        rows = [self._rows[index] for index in indices]
        contexts = self._contexts.texts(rows) if self._contexts else [[] for _ in rows]
        entries: list[dict[str, Any]] = []
        for index, row, texts in zip(indices, rows, contexts, strict=True):
            prompt_ids = builder.prompt(row)
            views = [builder.teacher(row), *(builder.auxiliary(row, text) for text in texts)]
            entry: dict[str, Any] = {
                "uid": row.uid,
                "row": index,
                "prompt_ids": prompt_ids,
                "view_ids": views,
                "gold_ids": builder.completion(row, prompt_ids),
                "negative_ids": [],
            }
            entries.append({**entry, "left_out": exceeded_limit(entry, config)})
        kept = [number for number, entry in enumerate(entries) if entry["left_out"] is None]
        builder.task.check_references([rows[number] for number in kept])
        if config.objective.contrastive.weight > 0:
            # Only for those, so that contrast never changes which rows are trained on.
            wrong = self._wrong_references([rows[number] for number in kept])
            for number, references in zip(kept, wrong, strict=True):
                negatives = [builder.teacher(reference) for reference in references]
                limit = config.model.max_view_length
                entries[number]["negative_ids"] = [ids for ids in negatives if len(ids) <= limit]
        return entries

    def _wrong_references(self, rows: Sequence[Row]) -> list[list[Row]]:
        task, config = self._builder.task, self._builder.config
        found = wrong_references(
            rows, task, config.views.negatives, config.seed, self._writing, self._wanted
        )
        self._negatives.update(found.counts)
        self._contrasted |= any(found.rows)
        return found.rows

    def _check(self) -> None:
        name = self._builder.task.name
        if len(self._left_out) == len(self._rows):
            counted = Counter(self._left_out.values())
            reasons = ", ".join(f"{counted[key]} over {key}" for key in LIMITS)
            raise UserError(
                f"task {name}: no row is left of {len(self._rows)} ({reasons}); raise them"
            )
        fitting = self.made - len(self._left_out)
        contrast = self._builder.config.objective.contrastive.weight > 0
        enough = fitting >= PROBED or self.made == len(self._rows)
        if contrast and enough and not self._contrasted:
            raise UserError(
                f"task {name} has no wrong references; set objective.contrastive.weight=0"
            )


def exceeded_limit(entry: Mapping[str, Any], config: Config) -> str | None:
    """The setting whose limit a row of ``PROMPT`` exceeds, None where it fits."""
    limit = config.rollout.max_completion_length
    if len(entry["prompt_ids"]) > config.model.max_prompt_length:
        return LIMITS[0]
    if max(map(len, entry["view_ids"])) > config.model.max_view_length:
        return LIMITS[1]
    if config.rollout.gold_share > 0 and 0 < limit < len(entry["gold_ids"]):
        return LIMITS[2]
    return None
