"""What the student and each view of the teacher read, as token ids made once.

Later stages append a completion's ids to these prompts and never render text again, so
the boundary between prompt and completion is the same in every view.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from unisd_core.config import Config
from unisd_core.contexts import build_contexts
from unisd_core.errors import UserError
from unisd_core.schema import PROMPT
from unisd_core.tasks.base import Row, Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

APPENDED_REFERENCE = (
    "{prompt}\n\nThis is an example response to the question:\n{reference}\n\n"
    "Study the example response with care, then answer the question in your own way."
)
"""Teacher's user turn under reference_format=appended (method, section 4)."""

CHAT_TURN_FOLLOW_UP = "Correct. {hint}Answer the same request again, in the same format."
"""Teacher's second user turn under reference_format=chat_turn, before the repeated prompt."""

AUXILIARY_CONTEXT = "{context}\n\nTask to solve:\n{prompt}"
"""User turn of an auxiliary view (method, section 4)."""


def auxiliary_count(config: Config) -> int:
    """Auxiliary views each row carries: K, or 0 where nothing reads their agreement."""
    used = config.objective.agreement.level != "off" or config.filter.min_agreement > 0
    return config.views.count if used else 0


@dataclass(frozen=True)
class PromptTable:
    """Rows ready to be sampled, and how many were left out for which reason."""

    table: pa.Table
    """Schema ``PROMPT``; ``row`` indexes the sequence given to ``build_prompts``."""
    left_out: Mapping[str, int]
    """Rows left out by the setting whose limit they exceed."""


class ViewBuilder:
    """Renders rows of one task with one tokenizer's chat template.

    Every method returns the ids of a whole prompt, up to and including the header of the
    assistant's turn. Raises UserError when the tokenizer has no chat template.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, task: Task, config: Config) -> None:
        template = tokenizer.chat_template
        if not template:
            raise UserError(
                f"model.path={config.model.path}: the tokenizer has no chat template; "
                "use an instruction-tuned model"
            )
        self.task = task
        self.config = config
        self._tokenizer = tokenizer
        # A template that can think would open every answer with thoughts the references lack.
        self._options = {"enable_thinking": False} if "enable_thinking" in str(template) else {}

    def prompt(self, row: Row) -> list[int]:
        """What the student sees: the task's prompt as a single user turn."""
        return self._encode(_user(row.prompt))

    def teacher(self, row: Row) -> list[int]:
        """The primary teacher's view: the prompt with ``row.gold`` and ``row.hint``."""
        # An explanation that is part of the answer is not told twice.
        hint = "" if row.hint in row.gold else row.hint
        if self.config.views.reference_format == "appended":
            reference = f"{row.gold}\n{hint}" if hint else row.gold
            text = APPENDED_REFERENCE.format(prompt=row.prompt, reference=reference)
            return self._encode(_user(text))
        follow_up = CHAT_TURN_FOLLOW_UP.format(hint=f"{hint} " if hint else "")
        if self.config.views.repeat_prompt:
            follow_up += f"\n\n{row.prompt}"
        gold = {"role": "assistant", "content": row.gold}
        return self._encode(_user(row.prompt), gold, _user(follow_up))

    def negative(self, row: Row, rng: random.Random) -> list[int] | None:
        """The teacher's view with a wrong reference in the same template, so that nothing
        but the reference differs (method, section 2.3); None where the task has none."""
        wrong = self.task.wrong_reference(row, rng)
        return None if wrong is None else self.teacher(wrong)

    def auxiliary(self, row: Row, context_text: str) -> list[int]:
        """The prompt after a context that does not hold the row's own answer."""
        text = AUXILIARY_CONTEXT.format(context=context_text, prompt=row.prompt)
        return self._encode(_user(text))

    def _encode(self, *turns: dict[str, str]) -> list[int]:
        options: dict[str, Any] = self._options
        # return_dict=False: the default is a BatchEncoding, whose length is its number of keys.
        ids: Any = self._tokenizer.apply_chat_template(
            list(turns), tokenize=True, add_generation_prompt=True, return_dict=False, **options
        )
        return [int(token) for token in ids]


def build_prompts(rows: Sequence[Row], builder: ViewBuilder) -> PromptTable:
    """Token ids of the student prompt and of every view the objective needs, for each row.

    ``view_ids`` holds the teacher's view, ``auxiliary_count(config)`` auxiliary views and, when
    objective.contrastive.weight > 0 and the task has a wrong reference for the row, the
    negative view. A row without one stays in: it only lacks the contrastive term, and
    all methods train on the same rows. Rows longer than model.max_prompt_tokens or
    model.max_view_tokens are left out and counted.

    Raises UserError when no row is left, when a uid occurs twice, or when contrast is
    on and the task has no wrong reference for any row.
    """
    task, config = builder.task, builder.config
    uid, occurrences = Counter(row.uid for row in rows).most_common(1)[0] if rows else ("", 0)
    if occurrences > 1:
        raise UserError(f"task {task.name}: uid {uid} occurs {occurrences} times; make uids unique")
    contexts: list[list[str]] = [[] for _ in rows]
    if auxiliary_count(config):
        contexts = build_contexts(rows, task, config.views, config.seed)
    contrast = config.objective.contrastive.weight > 0
    left_out = {"model.max_prompt_tokens": 0, "model.max_view_tokens": 0}
    negatives = 0
    kept: list[dict[str, Any]] = []
    for number, (row, texts) in enumerate(zip(rows, contexts, strict=True)):
        prompt_ids = builder.prompt(row)
        if len(prompt_ids) > config.model.max_prompt_tokens:
            left_out["model.max_prompt_tokens"] += 1
            continue
        view_ids = [builder.teacher(row), *(builder.auxiliary(row, text) for text in texts)]
        if contrast:
            # Seeded per row: the choice of a wrong reference must not depend on other rows.
            negative = builder.negative(row, random.Random(f"{config.seed}:negative:{row.uid}"))
            if negative is not None:
                view_ids.append(negative)
                negatives += 1
        if max(map(len, view_ids)) > config.model.max_view_tokens:
            left_out["model.max_view_tokens"] += 1
            continue
        kept.append({"uid": row.uid, "row": number, "prompt_ids": prompt_ids, "view_ids": view_ids})
    if not kept:
        reasons = ", ".join(f"{count} over {key}" for key, count in left_out.items())
        raise UserError(f"task {task.name}: no row is left of {len(rows)} ({reasons}); raise them")
    if contrast and not negatives:
        raise UserError(
            f"task {task.name} has no wrong references; set objective.contrastive.weight=0"
        )
    return PromptTable(pa.Table.from_pylist(kept, schema=PROMPT), left_out)


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}
