"""Prompts of the student and of each view of the teacher, as token ids made once.

Later stages append a completion's ids to these prompts and never render text again, so
the boundary between prompt and completion is the same in every view.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unisd_core.common.errors import UserError
from unisd_core.config.run import Config
from unisd_core.tasks.base import Task
from unisd_core.tasks.row import Row

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


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}
