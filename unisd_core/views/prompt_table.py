"""Prompt table: the student's prompt and every view of the rows that are trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from unisd_core.common.errors import UserError
from unisd_core.common.schema import PROMPT
from unisd_core.config.run import Config
from unisd_core.tasks.row import Row
from unisd_core.views.builder import ViewBuilder, auxiliary_count
from unisd_core.views.contexts import Contexts, build_contexts
from unisd_core.views.negatives import WrongReferences, wrong_references
from unisd_core.views.writing import Writing

_LIMITS = ("model.max_prompt_length", "model.max_view_length", "rollout.max_completion_length")


@dataclass(frozen=True)
class PromptTable:
    """Rows ready to be sampled, and how many were left out for which reason."""

    table: pa.Table
    """Schema ``PROMPT``; ``row`` indexes the sequence given to ``build_prompts``."""
    left_out: Mapping[str, int]
    """Rows left out by the setting whose limit they exceed."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Texts made for the views: ``<kind>.written``, ``.cached`` and ``.failed`` where the model
    writes, ``induction.replaced`` (by solved examples) and ``negatives.rule``."""


def build_prompts(
    rows: Sequence[Row],
    builder: ViewBuilder,
    writing: Writing | None = None,
    visited: Callable[[int], AbstractSet[int]] | None = None,
) -> PromptTable:
    """Token ids of the student prompt and of every view the objective needs, for each row.

    ``view_ids`` holds the teacher's view and ``auxiliary_count(config)`` auxiliary views,
    ``gold_ids`` the reference as a completion, and ``negative_ids``, when
    objective.contrastive.weight > 0, the teacher's view with each wrong reference. A row
    without any stays in: it only lacks the contrastive term, and all methods train on the
    same rows. Rows longer than model.max_prompt_length or model.max_view_length, or, with
    rollout.gold_share > 0, with references longer than rollout.max_completion_length, are left
    out and counted; a negative view that is longer is left off its row.

    ``writing`` lets the model write instructions and wrong references; the latter only for
    rows that ``visited`` names: given the number of rows in the table, the indices into it that
    the run will visit (None: all). Raises UserError when no row is left, when a uid
    occurs twice, when ``writing`` is needed and missing, or when contrast is on and the task has
    no wrong reference for any row.
    """
    task, config = builder.task, builder.config
    uid, occurrences = Counter(row.uid for row in rows).most_common(1)[0] if rows else ("", 0)
    if occurrences > 1:
        raise UserError(f"task {task.name}: uid {uid} occurs {occurrences} times; make uids unique")
    left_out = dict.fromkeys(_LIMITS, 0)
    contexts = Contexts([[] for _ in rows], {})
    if auxiliary_count(config):
        contexts = build_contexts(rows, task, config.views, config.seed, writing)
    kept: list[dict[str, Any]] = []
    for number, (row, texts) in enumerate(zip(rows, contexts.texts, strict=True)):
        prompt_ids = builder.prompt(row)
        entry: dict[str, Any] = {
            "uid": row.uid,
            "row": number,
            "prompt_ids": prompt_ids,
            "view_ids": [builder.teacher(row), *(builder.auxiliary(row, text) for text in texts)],
            "gold_ids": builder.completion(row, prompt_ids),
        }
        _keep(entry, config, kept, left_out)
    wrong = WrongReferences([[] for _ in kept], {})
    if config.objective.contrastive.weight > 0 and kept:
        # Only now, so that contrast never changes which rows are trained on.
        asked = [rows[entry["row"]] for entry in kept]
        wanted = visited and {asked[index].uid for index in visited(len(kept))}
        settings = config.views.negatives
        wrong = wrong_references(asked, task, settings, config.seed, writing, wanted)
    for entry, references in zip(kept, wrong.rows, strict=True):
        negatives = [builder.teacher(reference) for reference in references]
        limit = config.model.max_view_length
        entry["negative_ids"] = [ids for ids in negatives if len(ids) <= limit]
    if not kept:
        reasons = ", ".join(f"{count} over {key}" for key, count in left_out.items())
        raise UserError(f"task {task.name}: no row is left of {len(rows)} ({reasons}); raise them")
    if config.objective.contrastive.weight > 0 and not any(wrong.rows):
        raise UserError(
            f"task {task.name} has no wrong references; set objective.contrastive.weight=0"
        )
    table = pa.Table.from_pylist(kept, schema=PROMPT)
    return PromptTable(table, left_out, {**contexts.counts, **wrong.counts})


def _keep(
    entry: dict[str, Any], config: Config, kept: list[dict[str, Any]], left_out: dict[str, int]
) -> None:
    """Append ``entry`` to ``kept``, or count in ``left_out`` the first limit it exceeds."""
    limit = config.rollout.max_completion_length
    if len(entry["prompt_ids"]) > config.model.max_prompt_length:
        left_out["model.max_prompt_length"] += 1
    elif max(map(len, entry["view_ids"])) > config.model.max_view_length:
        left_out["model.max_view_length"] += 1
    elif config.rollout.gold_share > 0 and 0 < limit < len(entry["gold_ids"]):
        left_out["rollout.max_completion_length"] += 1
    else:
        kept.append(entry)
