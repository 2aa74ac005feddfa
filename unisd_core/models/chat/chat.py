"""Chat: what the student and its views read, and references as completions, as token ids."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from unisd_core.common.errors import UserError
from unisd_core.common.thoughts import closing_tag, has_tag, is_tag, leading_thought, opening_tag
from unisd_core.models.chat.control_tokens import ControlTokens
from unisd_core.models.chat.template import (
    THINKING,
    ChatTemplate,
    Message,
    TextLostError,
    assistant_turn,
    user_turn,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from unisd_core.config.run import ModelConfig

logger = logging.getLogger(__name__)

_QUESTION, _ANSWER, _NEXT = "Where is it?", "Over there.", "And now?"


class Chat:
    """Conversations with one model.

    Whatever a turn says is plain text, also where it looks like a control token. Raises UserError
    for a chat template that loses text or does not open an answer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, settings: ModelConfig) -> None:
        self._tokenizer = tokenizer
        self._name = settings.name_or_path
        self._template = ChatTemplate(tokenizer, settings)
        asked, answered = [user_turn(_QUESTION)], [user_turn(_QUESTION), assistant_turn(_ANSWER)]
        prompt = self._template.render(asked, generation_prompt=True)
        closed = self._template.render(answered, generation_prompt=False)
        went_on = self._template.render([*answered, user_turn(_NEXT)], generation_prompt=True)
        self._control = ControlTokens(tokenizer, prompt + closed + went_on)
        self._check_opening(prompt, closed)
        # Some templates close an answer only when a turn follows.
        end = self._control.first(_between(closed)) or self._control.first(_between(went_on))
        self.turn_end: int | None = self._control.ids.get(end, tokenizer.eos_token_id)
        """The token after an answer: the template's, else the tokenizer's end token."""
        self._opened = opening_tag(prompt)
        self._closes_thought = has_tag(prompt.rpartition(_QUESTION)[2]) and not self._opened
        self._warned = False
        special = {
            number: token.content
            for number, token in tokenizer.added_tokens_decoder.items()
            if token.special
        }
        thoughts = {number for number, content in special.items() if is_tag(content)}
        self._hidden = frozenset(special.keys() - thoughts) if thoughts else None

    def prompt(self, turns: Sequence[Message]) -> list[int]:
        """Ids of a conversation up to and including the header of the assistant's turn."""
        return self._encode(turns, generation_prompt=True)

    def check_reference(self, reference: str) -> None:
        """Raise UserError where ``reference`` has a thought and completions have none, or the other
        way round."""
        thought, _ = leading_thought(reference)
        if self._thinks and thought is None:
            raise UserError(
                "its reference has no thought, and the chat template asks for one; begin it with "
                "<think>...</think>, or switch thoughts off by model.chat_template_kwargs"
            )
        if self._refuses_thoughts and thought is not None and thought.strip():
            raise UserError(
                "its reference begins with a thought, and the chat template has them switched "
                "off; remove it, or switch thoughts on by model.chat_template_kwargs"
            )

    def completion(self, prompt: str, prompt_ids: list[int], reference: str) -> list[int]:
        """``reference`` as the completion that the model would have sampled after ``prompt_ids``,
        those of ``prompt``, up to and including the token that ends the turn: what the template
        writes there.

        Where it writes finished turns in another way than it opens them, the text is tokenised by
        itself. A thought that ``check_reference`` refuses is left out.
        """
        if self.turn_end is None:
            raise UserError(f"model.name_or_path={self._name}: the tokenizer has no end token")
        thought, answer = leading_thought(reference)
        if self._refuses_thoughts and thought is not None:
            reference = answer.lstrip()
        try:
            closed = self._encode(
                [user_turn(prompt), assistant_turn(reference)], generation_prompt=False
            )
        except TextLostError:
            closed = []
        start = len(prompt_ids)
        if closed[:start] == prompt_ids and self.turn_end in closed[start:]:
            return closed[start : closed.index(self.turn_end, start) + 1]
        if self._opened:
            # The prompt holds the first tag.
            said = "\n" if thought is None else thought.lstrip()
            rest = f"\n\n{reference}" if thought is None else answer
            reference = f"{said}{closing_tag(self._opened)}{rest}"
        elif not self._warned:
            self._warned = True
            logger.warning(
                "%s: the chat template writes a finished answer in another way than it opens one; "
                "references are read as their text and the end token", self._name,
            )  # fmt: skip
        return [*self._plain(reference), self.turn_end]

    def answer(self, text: str, ended: bool) -> list[int]:
        """A completion that ``text`` read, as ids again; with the end of the turn where it
        ``ended``."""
        end = [self.turn_end] if ended and self.turn_end is not None else []
        return [*self._plain(text.removeprefix(self._opened)), *end]

    def _plain(self, text: str) -> list[int]:
        return self._control.encode(self._control.protect(text))

    def text(self, completion_ids: Sequence[int]) -> str:
        """A completion as text: without special tokens, and with the tags of its thought, also one
        that the prompt holds."""
        ids = [token for token in completion_ids if token not in (self._hidden or ())]
        return self._opened + str(
            self._tokenizer.decode(ids, skip_special_tokens=self._hidden is None)
        )

    @property
    def options(self) -> Mapping[str, Any]:
        """The options that the chat template is given."""
        return self._template.options

    @property
    def _thinks(self) -> bool:
        """Whether every completion begins with a thought."""
        return bool(self._opened) or any(self._template.options.get(name) for name in THINKING)

    @property
    def _refuses_thoughts(self) -> bool:
        switches = [
            self._template.options[name] for name in THINKING if name in self._template.options
        ]
        return self._closes_thought or (bool(switches) and not any(switches) and not self._opened)

    def _check_opening(self, prompt: str, closed: str) -> None:
        """Raise UserError unless ``prompt`` ends where an answer begins."""
        unopened = self._template.render([user_turn(_QUESTION)], generation_prompt=False)
        opens = self._control.encode(unopened) != self._control.encode(prompt)
        # Some families have no header: the answer follows the user's turn.
        if not opens and not closed.removeprefix(prompt).lstrip().startswith(_ANSWER):
            raise UserError(
                f"model.name_or_path={self._name}: the chat template opens no answer "
                "(add_generation_prompt changes nothing); mend the template or choose another model"
            )

    def _encode(self, turns: Sequence[Message], *, generation_prompt: bool) -> list[int]:
        protected = [{**turn, "content": self._control.protect(turn["content"])} for turn in turns]
        text = self._template.render(protected, generation_prompt=generation_prompt)
        ids = self._control.encode(text)
        self._check_kept(self._control.restore(text), ids)
        return ids

    def _check_kept(self, text: str, ids: list[int]) -> None:
        """Raise UserError where ``ids`` lose some of ``text``; white space and letter forms may
        change."""
        read = self._tokenizer.decode(
            ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        if read == text or _folded(read) == _folded(text):
            return
        lost = next((letter for letter in text if _folded(letter) not in _folded(read)), None)
        raise UserError(
            f"the tokenizer of {self._name} does not keep its text"
            f"{f' (the first character lost is {lost!r})' if lost else ''}; "
            "remove what it cannot write or choose another model"
        )


def _between(text: str) -> str:
    """What a rendered conversation writes after the first answer."""
    return text.partition(_ANSWER)[2].partition(_NEXT)[0]


def _folded(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())
