"""Prompts of the student and of each view of the teacher, as token ids made once.

Later stages append a completion's ids to these prompts and never render text again, so
the boundary between prompt and completion is the same in every view.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from unisd_core.common.errors import UserError
from unisd_core.config.run import Config
from unisd_core.models.chat.chat import Chat
from unisd_core.models.chat.template import assistant_turn, user_turn
from unisd_core.tasks.base import Task
from unisd_core.tasks.row import Row

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
    used = config.objective.agreement.level != "off" or config.filter.compares_rows
    return config.views.num_auxiliary if used else 0


def needs_teacher(config: Config) -> bool:
    """Whether any term reads the teacher's view of a completion, so that it has to be scored."""
    terms = config.objective
    return any(term.weight > 0 for term in (terms.divergence, terms.contrastive, terms.features))


class ViewBuilder:
    """Renders rows of one task as conversations of ``chat``.

    Every method but ``completion`` returns the ids of a whole prompt, up to and including the
    header of the assistant's turn. Raises UserError, naming the row, for what ``Chat`` refuses.
    """

    def __init__(self, chat: Chat, task: Task, config: Config) -> None:
        self.chat, self.task, self.config = chat, task, config

    def prompt(self, row: Row) -> list[int]:
        """What the student sees: the task's prompt as a single user turn."""
        with _naming(row):
            return self.user_turn(row.prompt)

    def user_turn(self, text: str) -> list[int]:
        """Any text as a single user turn."""
        return self.chat.prompt([user_turn(text)])

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
            turns = [user_turn(text)]
        else:
            follow_up = CHAT_TURN_FOLLOW_UP.format(hint=f"{hint} " if hint else "")
            if self.config.views.repeat_prompt:
                follow_up += f"\n\n{row.prompt}"
            turns = [user_turn(row.prompt), assistant_turn(row.reference), user_turn(follow_up)]
        with _naming(row):
            return self.chat.prompt(turns)

    def completion(self, row: Row, prompt_ids: list[int]) -> list[int]:
        """``row.reference`` as a completion; see ``Chat.completion``. ``prompt_ids`` are
        ``prompt(row)``. Where references are trained on, they and the chat template must agree on
        thoughts."""
        with _naming(row):
            if self.config.rollout.gold_share > 0:
                self.chat.check_reference(row.reference)
            return self.chat.completion(row.prompt, prompt_ids, row.reference)

    def auxiliary(self, row: Row, context_text: str) -> list[int]:
        """The prompt after a context that does not hold the row's own answer."""
        text = AUXILIARY_CONTEXT.format(context=context_text, prompt=row.prompt)
        with _naming(row):
            return self.user_turn(text)


@contextmanager
def _naming(row: Row) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(f"row {row.uid}: {error}") from error
