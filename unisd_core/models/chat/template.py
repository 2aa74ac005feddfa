"""ChatTemplate: conversations as text, the same on every day, with nothing of them lost."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, TemplateError, UndefinedError
from jinja2.meta import find_undeclared_variables

from unisd_core.common.errors import UserError, reason
from unisd_core.common.thoughts import leading_thought

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from unisd_core.config.run import ModelConfig

Message = dict[str, str]
"""One turn: ``role`` and ``content``; a thought of the model stands in tags at its beginning."""

QUESTION, ANSWER, NEXT, THOUGHT = "Where is it?", "Over there.", "And now?", "Let me see."
"""Turns of the conversations that a template is tried on, and the thought before the answer."""

THINKING = ("enable_thinking", "thinking")
"""Options by which templates switch thoughts on and off."""

_THOUGHT_KEYS = ("reasoning_content", "reasoning", "thinking", "thought")
"""Keys of a message under which templates look for its thought."""

_PARTS = "parts"

# A template that takes content for text writes a list of parts as it is.
_LISTED = re.compile(r"""['"]type['"]:""")


class TextLostError(UserError):
    """The template does not write all of a conversation."""


class ChatTemplate:
    """Renders conversations with the chat template of ``tokenizer`` and the options of
    ``settings``.

    Raises UserError where there is no template, where it does not know an option, and where it
    loses the text of a user turn.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, settings: ModelConfig) -> None:
        self._tokenizer = tokenizer
        self._name = settings.name_or_path
        self._source = self._default_source()
        self._variables = _variables(self._source)
        self._date = settings.chat_template_date
        for name in settings.chat_template_kwargs:
            if not self.has_option(name):
                raise UserError(
                    f"model.chat_template_kwargs.{name}: the chat template of {self._name} has no "
                    "such option; remove it"
                )
        self.options: dict[str, Any] = dict(settings.chat_template_kwargs)
        # A template that can think would open every answer with thoughts that references lack.
        if not self.options.keys() & {*THINKING}:
            self.options |= {name: False for name in THINKING if self.has_option(name)}
        self._in_parts = False
        self._thought_key: str | None = None
        self._in_parts = self._wants_parts()
        self._thought_key = self._reads_thoughts()

    def has_option(self, name: str) -> bool:
        """Whether the template reads a variable called ``name``."""
        if self._variables is None:
            return re.search(rf"\b{re.escape(name)}\b", self._source) is not None
        return name in self._variables

    @property
    def digest(self) -> str:
        """Of everything that decides how a conversation is written."""
        decides = [self._source, self.options, self._date.isoformat()]
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    @property
    def takes_thoughts(self) -> bool:
        """Whether the template takes the thought of a turn apart from its content."""
        return self._thought_key is not None

    def render(self, turns: Sequence[Message], *, generation_prompt: bool) -> str:
        """The conversation as text; with ``generation_prompt`` up to where an answer begins.

        Raises UserError where the template refuses it and TextLostError where it leaves something
        of a turn out (white space apart).
        """
        try:
            text = self._tokenizer.apply_chat_template(
                [self._message(turn) for turn in turns],
                tokenize=False,
                add_generation_prompt=generation_prompt,
                strftime_now=self._date.strftime,
                **self.options,
            )
        # A template is a program: what it does not foresee ends in any of these.
        except (
            TemplateError,
            ArithmeticError,
            AttributeError,
            LookupError,
            TypeError,
            ValueError,
        ) as error:
            remedy = "mend the template or choose another model"
            if isinstance(error, UndefinedError):
                remedy = f"set it by model.chat_template_kwargs, {remedy}"
            raise UserError(
                f"the chat template of {self._name} refuses the conversation ({reason(error)}); "
                f"{remedy}"
            ) from error
        self._check(turns, str(text))
        return str(text)

    def _message(self, turn: Message) -> dict[str, Any]:
        """``turn`` as the template takes it."""
        content, thought = turn["content"], None
        if self._thought_key and turn["role"] == "assistant":
            thought, answer = leading_thought(content)
            content = content if thought is None else answer.lstrip()
        thought = (thought or "").strip()
        message: dict[str, Any] = {**turn, "content": content}
        if self._in_parts or (thought and self._thought_key == _PARTS):
            message["content"] = [{"type": "text", "text": content}]
        if thought and self._thought_key == _PARTS:
            message["content"].insert(0, {"type": "thinking", "thinking": thought})
        elif thought and self._thought_key:
            message[self._thought_key] = thought
        return message

    def _default_source(self) -> str:
        name = self._name
        if not self._tokenizer.chat_template:
            raise UserError(
                f"model.name_or_path={name}: the tokenizer has no chat template; use an "
                "instruction-tuned model"
            )
        try:
            return self._tokenizer.get_chat_template()
        except ValueError as error:
            raise UserError(
                f"model.name_or_path={name}: of several chat templates none is the default "
                f"({reason(error)}); use another model"
            ) from error

    def _wants_parts(self) -> bool:
        """Whether content has to be a list of parts; text is tried first."""
        problems = []
        for self._in_parts in (False, True):
            try:
                text = self.render([user_turn(QUESTION)], generation_prompt=True)
            except UserError as error:
                problems.append(error)
                continue
            if not (self._in_parts and _LISTED.search(text)):
                return self._in_parts
        raise problems[0]

    def _reads_thoughts(self) -> str | None:
        """The key, or ``_PARTS``, by which the template takes a thought; None where it has to
        stand in the content."""
        turns = [user_turn(QUESTION), assistant_turn(f"<think>{THOUGHT}</think>{ANSWER}")]
        for self._thought_key in (*_THOUGHT_KEYS, _PARTS):
            try:
                text = self.render(turns, generation_prompt=False)
            except UserError:
                continue
            apart = text.partition(THOUGHT)[2].partition(ANSWER)[0].strip()
            if apart and (self._thought_key != _PARTS or not _LISTED.search(text)):
                return self._thought_key
        return None

    def _check(self, turns: Sequence[Message], text: str) -> None:
        written, place = dense(text), 0
        for turn in turns:
            for part, piece in _pieces(turn):
                place = written.find(piece, place)
                if place < 0:
                    raise TextLostError(
                        f"the chat template of {self._name} leaves out the {part} of the "
                        f"{turn['role']}'s turn; {_remedy(part)}"
                    )
                place += len(piece)


def user_turn(text: str) -> Message:
    """``text`` as a turn of the user."""
    return {"role": "user", "content": text}


def assistant_turn(text: str) -> Message:
    """``text`` as a turn of the model."""
    return {"role": "assistant", "content": text}


def dense(text: str) -> str:
    """``text`` without white space."""
    return "".join(text.split())


def _variables(source: str) -> set[str] | None:
    """What a template reads that it is given, or None where it cannot be read."""
    try:
        # A mark of trainable text, which plain jinja does not know.
        return find_undeclared_variables(
            Environment(extensions=["jinja2.ext.loopcontrols"]).parse(
                re.sub(r"\{%[-+]?\s*(end)?generation\s*[-+]?%\}", "", source)
            )
        )
    except TemplateError:
        return None


def _pieces(turn: Message) -> Iterator[tuple[str, str]]:
    """What has to be found of a turn, in order: templates lay a thought and its answer out anew."""
    thought, rest = None, turn["content"]
    if turn["role"] == "assistant":
        thought, rest = leading_thought(rest)
    if thought is not None:
        yield "thought", dense(thought)
    yield "text", dense(rest)


def _remedy(part: str) -> str:
    if part == "thought":
        return "set views.reference_format=appended, which shows it in the user's turn"
    return "mend the template or choose another model"
