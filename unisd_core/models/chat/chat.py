"""Chat: what the student and its views read, and references as completions, as token ids."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from unisd_core.common.errors import UserError
from unisd_core.common.thoughts import is_tag, leading_thought
from unisd_core.models.chat.answer_form import Probes, read_form
from unisd_core.models.chat.control_tokens import ControlTokens
from unisd_core.models.chat.template import (
    ANSWER,
    NEXT,
    QUESTION,
    THINKING,
    THOUGHT,
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


class Chat:
    """Conversations with one model.

    Whatever a turn says is plain text, also where it looks like a control token. Raises UserError
    for a chat template that loses text or does not open an answer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, settings: ModelConfig) -> None:
        self._tokenizer = tokenizer
        self._name = settings.name_or_path
        self._template = ChatTemplate(tokenizer, settings)
        probes = self._probe()
        rendered = probes.prompt + probes.closed + probes.went_on + probes.thoughtful
        self._control = ControlTokens(tokenizer, rendered)
        self._check_opening(probes)
        added = tokenizer.added_tokens_decoder
        self._form = read_form(
            probes,
            self._control,
            str(tokenizer.eos_token or ""),
            str(tokenizer.bos_token or ""),
            {token.content for token in added.values()},
        )
        if self._form.ends_with_thought:
            raise UserError(
                f"model.name_or_path={self._name}: the chat template ends a thought with the token "
                f"that ends an answer ({self._form.turn_end}), so that completions would end "
                "before their answer; switch thoughts off by model.chat_template_kwargs or choose "
                "another model"
            )
        self.turn_end: int | None = self._control.ids.get(
            self._form.turn_end, tokenizer.eos_token_id
        )
        """The token after an answer: the template's, else the tokenizer's end token."""
        self._warned: set[str] = set()
        special = {number: token.content for number, token in added.items() if token.special}
        thoughts = {number for number, content in special.items() if is_tag(content)}
        self._hidden = frozenset(special.keys() - thoughts)
        self._hidden_text = re.compile(
            "|".join(re.escape(special[number]) for number in self._hidden) or r"(?!)"
        )

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
        if not self._form.turn_end:
            self._warn(
                "writes no token after an answer; references end with "
                f"{self._tokenizer.eos_token}, and so should completions"
            )
        thought, answer = leading_thought(reference)
        if self._refuses_thoughts and thought is not None:
            thought, reference = None, answer.lstrip()
        start = len(prompt_ids)
        closed = self._finished(prompt, reference, thought is not None)
        if closed[:start] == prompt_ids and self.turn_end in closed[start:]:
            return closed[start : closed.index(self.turn_end, start) + 1]
        if not self._form.told:
            self._warn(
                "writes a finished answer in another way than it opens one; references are read "
                "as their text and the end token"
            )
        return [*self._as_written(reference, self._form.tail), self.turn_end]

    def answer(self, text: str, ended: bool) -> list[int]:
        """A completion that ``text`` read, as ids again; with the end of the turn where it
        ``ended``."""
        end = [self.turn_end] if ended and self.turn_end is not None else []
        if not text.startswith(self._form.opened):
            return [*self._control.encode(self._control.protect(text)), *end]
        return [*self._as_written(text, self._form.tail if ended else ""), *end]

    def _finished(self, prompt: str, reference: str, has_thought: bool) -> list[int]:
        """A finished conversation where the template writes it as it opens one."""
        if not (self._form.thought_written if has_thought else self._form.written):
            return []
        try:
            turns = [user_turn(prompt), assistant_turn(reference)]
            return self._encode(turns, generation_prompt=False)
        except TextLostError:
            return []

    def _as_written(self, text: str, tail: str) -> list[int]:
        """An answer of the model as ids, with its thought in the model's form."""
        form, protect = self._form, self._control.protect
        thought, answer = leading_thought(text)
        before, after = form.marks(thought is not None)
        tag = form.opened or (form.opening and "<think>")
        if thought is None and tag and text.startswith(tag):
            # Cut off within the thought, whose white space is all in the text.
            before = form.marks(True)[0].rstrip()
            return self._control.encode(before + protect(text.removeprefix(tag)))
        if thought is not None and not form.opened and not form.opening:
            thought, answer, before, after = None, text, form.lead, ""
        if form.native or (form.opening and not form.opened):
            thought, answer = (thought or "").strip(), answer.lstrip() if thought else answer
        said = (thought or "").lstrip()
        return self._control.encode(before + protect(said) + after + protect(answer) + tail)

    def text(self, completion_ids: Sequence[int]) -> str:
        """A completion as text: without special tokens, and with the tags of its thought, also one
        that the prompt holds or that the model writes in another way."""
        ids = list(completion_ids)
        if ids and ids[-1] == self.turn_end:
            del ids[-1]
        if not (self._form.native or self._form.lead or self._form.tail):
            return self._form.opened + self._decode(ids, self._hidden)
        return self._form.opened + self._hidden_text.sub("", self._form.read(self._decode(ids)))

    def _decode(self, ids: Sequence[int], hidden: Collection[int] = ()) -> str:
        shown = [token for token in ids if token not in hidden]
        return str(self._tokenizer.decode(shown, skip_special_tokens=False))

    @property
    def digest(self) -> str:
        """Of the chat template, its options and its date."""
        return self._template.digest

    @property
    def options(self) -> Mapping[str, Any]:
        """The options that the chat template is given."""
        return self._template.options

    @property
    def _thinks(self) -> bool:
        """Whether every completion begins with a thought."""
        return bool(self._form.opened) or any(self._template.options.get(name) for name in THINKING)

    @property
    def _refuses_thoughts(self) -> bool:
        switches = [
            self._template.options[name] for name in THINKING if name in self._template.options
        ]
        return self._form.closed or (bool(switches) and not any(switches) and not self._form.opened)

    def _probe(self) -> Probes:
        render = self._template.render
        asked = [user_turn(QUESTION)]
        answered = [*asked, assistant_turn(ANSWER)]
        try:
            thought = f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}"
            thoughtful = render([*asked, assistant_turn(thought)], generation_prompt=False)
        except UserError:
            thoughtful = ""
        return Probes(
            prompt=render(asked, generation_prompt=True),
            closed=render(answered, generation_prompt=False),
            went_on=render([*answered, user_turn(NEXT)], generation_prompt=True),
            thoughtful=thoughtful,
            thought_apart=self._template.takes_thoughts,
        )

    def _check_opening(self, probes: Probes) -> None:
        """Raise UserError unless the prompt ends where an answer begins."""
        unopened = self._template.render([user_turn(QUESTION)], generation_prompt=False)
        opens = self._control.encode(unopened) != self._control.encode(probes.prompt)
        if not opens and not probes.opens_always(str(self._tokenizer.eos_token or "")):
            raise UserError(
                f"model.name_or_path={self._name}: the chat template opens no answer "
                "(add_generation_prompt changes nothing); mend the template or choose another model"
            )

    def _warn(self, problem: str) -> None:
        """Say once what is particular of the template."""
        if problem not in self._warned:
            self._warned.add(problem)
            logger.warning("%s: the chat template %s", self._name, problem)

    def _encode(self, turns: Sequence[Message], *, generation_prompt: bool) -> list[int]:
        protected = [{**turn, "content": self._control.protect(turn["content"])} for turn in turns]
        text = self._template.render(protected, generation_prompt=generation_prompt)
        ids = self._control.encode(text)
        self._check_kept(self._control.restore(text), ids)
        return ids

    def _check_kept(self, text: str, ids: list[int]) -> None:
        """Raise UserError where ``ids`` lose some of ``text``; white space and letter forms may
        change."""
        # The backend has no clean-up to be told off, and takes half the time.
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        read = (
            backend.decode(ids, skip_special_tokens=False)
            if backend is not None
            else self._tokenizer.decode(
                ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
        )
        if read == text or _folded(read) == _folded(text):
            return
        lost = next((letter for letter in text if _folded(letter) not in _folded(read)), None)
        raise UserError(
            f"the tokenizer of {self._name} does not keep its text"
            f"{f' (the first character lost is {lost!r})' if lost else ''}; "
            "remove what it cannot write or choose another model"
        )


def _folded(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())
