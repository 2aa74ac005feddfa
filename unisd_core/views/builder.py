"""Prompts of the student and of each view of the teacher, as token ids made once.

Later stages append a completion's ids to these prompts and never render text again, so
the boundary between prompt and completion is the same in every view.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from unisd_core.common.errors import UserError
from unisd_core.common.schema import PROMPT
from unisd_core.config.run import Config
from unisd_core.tasks.base import Task
from unisd_core.tasks.row import Row
from unisd_core.views.contexts import Contexts, build_contexts
from unisd_core.views.negatives import WrongReferences, wrong_references
from unisd_core.views.writing import Writing

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

APPENDED_REFERENCE = (
    "{prompt}\n\nThis is an example response to the question:\n{reference}\n\n"
    "Study the example response with care, then answer the question in your own way."
)
"""Teacher's user turn under reference_format=appended (docs/method.md, "Views")."""

CHAT_TURN_FOLLOW_UP = "Correct. {hint}Answer the same request again, in the same format."
"""Teacher's second user turn under reference_format=chat_turn, before the repeated prompt."""

AUXILIARY_CONTEXT = "{context}\n\nTask to solve:\n{prompt}"
"""User turn of an auxiliary view (docs/method.md, "Auxiliary contexts")."""

_LIMITS = ("model.max_prompt_length", "model.max_view_length", "rollout.max_completion_length")


def auxiliary_count(config: Config) -> int:
    """Auxiliary views each row carries: K, or 0 where nothing reads their agreement."""
    used = (
        config.objective.agreement.level != "off"
        or config.filter.min_agreement > 0
        or config.filter.lowest_agreement > 0
    )
    return config.views.num_auxiliary if used else 0


def needs_teacher(config: Config) -> bool:
    """Whether any term reads the teacher's view of a completion, so that it has to be scored."""
    terms = config.objective
    return any(term.weight > 0 for term in (terms.divergence, terms.contrastive, terms.features))


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


class ViewBuilder:
    """Renders rows of one task with one tokenizer's chat template.

    Every method but ``completion`` returns the ids of a whole prompt, up to and including the
    header of the assistant's turn. ``stop_token_ids`` are those that end a completion. Raises
    UserError when the tokenizer has no chat template.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        task: Task,
        config: Config,
        stop_token_ids: Sequence[int] = (),
    ) -> None:
        template = tokenizer.chat_template
        if not template:
            raise UserError(
                f"model.name_or_path={config.model.name_or_path}: the tokenizer has no chat "
                f"template; "
                "use an instruction-tuned model"
            )
        self.task = task
        self.config = config
        self._tokenizer = tokenizer
        self._stop_token_ids = list(stop_token_ids)
        # A template that can think would open every answer with thoughts the references lack.
        self._options = {"enable_thinking": False} if "enable_thinking" in str(template) else {}

    def prompt(self, row: Row) -> list[int]:
        """What the student sees: the task's prompt as a single user turn."""
        return self.user_turn(row.prompt)

    def user_turn(self, text: str) -> list[int]:
        """Any text as a single user turn."""
        return self._encode(_user(text))

    def teacher(self, row: Row) -> list[int]:
        """The primary teacher's view: the prompt with ``row.reference`` and ``row.hint``.

        Given a row with a wrong reference it is the negative view, so that nothing but the
        reference differs (docs/method.md, "Wrong references").
        """
        # An explanation that is part of the answer is not told twice.
        hint = "" if row.hint in row.reference else row.hint
        if self.config.views.reference_format == "appended":
            reference = f"{row.reference}\n{hint}" if hint else row.reference
            text = APPENDED_REFERENCE.format(prompt=row.prompt, reference=reference)
            return self._encode(_user(text))
        follow_up = CHAT_TURN_FOLLOW_UP.format(hint=f"{hint} " if hint else "")
        if self.config.views.repeat_prompt:
            follow_up += f"\n\n{row.prompt}"
        answer = {"role": "assistant", "content": row.reference}
        return self._encode(_user(row.prompt), answer, _user(follow_up))

    def completion(self, row: Row, prompt_ids: list[int]) -> list[int]:
        """``row.reference`` as the completion the model would have sampled, up to and including the
        token that ends the turn: what the chat template puts after the student's prompt.

        Where a template writes finished turns in another way than it opens them, the text is
        tokenised by itself and the first stop token follows. ``prompt_ids`` are ``prompt(row)``.
        """
        turns = [_user(row.prompt), {"role": "assistant", "content": row.reference}]
        closed = self._encode(*turns, add_generation_prompt=False)
        if closed[: len(prompt_ids)] == prompt_ids:
            for end in range(len(prompt_ids), len(closed)):
                if closed[end] in self._stop_token_ids:
                    return closed[len(prompt_ids) : end + 1]
        ids: Any = self._tokenizer.encode(row.reference, add_special_tokens=False)
        return [int(token) for token in ids] + self._stop_token_ids[:1]

    def auxiliary(self, row: Row, context_text: str) -> list[int]:
        """The prompt after a context that does not hold the row's own answer."""
        text = AUXILIARY_CONTEXT.format(context=context_text, prompt=row.prompt)
        return self._encode(_user(text))

    def _encode(self, *turns: dict[str, str], add_generation_prompt: bool = True) -> list[int]:
        options: dict[str, Any] = self._options
        # return_dict=False: the default is a BatchEncoding, whose length is its number of keys.
        ids: Any = self._tokenizer.apply_chat_template(
            list(turns),
            tokenize=True,
            add_generation_prompt=add_generation_prompt,
            return_dict=False,
            **options,
        )
        return [int(token) for token in ids]


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


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}
