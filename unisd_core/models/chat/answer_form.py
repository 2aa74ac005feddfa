"""AnswerForm: how a chat template writes an answer, the thought before it and what ends it."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass

from unisd_core.common.thoughts import closing_tag, has_tag, opening_tag
from unisd_core.models.chat.control_tokens import ControlTokens
from unisd_core.models.chat.template import ANSWER, NEXT, QUESTION, THOUGHT, dense

# Thoughts that the templates of Gemma 4, Command A and Apertus do not write for a finished answer:
# what opens and closes it, and the tokens therein.
_UNWRITTEN = (
    ("<|channel>thought\n", "\n<channel|>", {"<|channel>", "<channel|>"}),
    *(
        (first, last, {first, last})
        for first, last in (
            ("<|START_THINKING|>", "<|END_THINKING|>"),
            ("<|inner_prefix|>", "<|inner_suffix|>"),
        )
    ),
)


@dataclass(frozen=True)
class Probes:
    """Conversations that a chat template has rendered."""

    prompt: str
    """QUESTION, up to where an answer begins."""
    closed: str
    """QUESTION and ANSWER."""
    went_on: str
    """QUESTION, ANSWER and NEXT, up to where an answer begins."""
    thoughtful: str
    """QUESTION and ANSWER with a THOUGHT; "" where the template does not write the thought."""
    thought_apart: bool
    """Whether the template takes a thought apart from the content."""

    def opens_always(self, eos: str) -> bool:
        """Whether an answer follows ``prompt`` though no generation prompt was asked for."""
        # Some families have no header: the answer follows the user's turn.
        rest = dense(self.closed).removeprefix(dense(self.prompt))
        if rest.startswith(dense(ANSWER)):
            return True
        # Others open an answer at the end of every conversation.
        after, on = _between(self.closed), _between(self.went_on)
        opened = after[len(os.path.commonprefix([after, on])) :].strip()
        return opened not in ("", eos) and self.prompt.strip().endswith(opened)


@dataclass(frozen=True)
class AnswerForm:
    """What stands around an answer and its thought, as text that follows the prompt."""

    turn_end: str
    """The token after an answer, or "" where the template writes none."""
    tail: str
    """Tokens between an answer and ``turn_end``."""
    lead: str
    """What precedes an answer without a thought."""
    opening: str
    """What opens a thought that the prompt does not open; "" where the row's own tags do."""
    closing: str
    """What stands between such a thought and its answer."""
    native: bool
    """Whether ``opening`` and ``closing`` are no tags."""
    opened: str
    """A tag where the prompt opens a thought, else ""."""
    closed: bool
    """Whether the prompt closes a thought."""
    written: bool
    """Whether the template writes a finished answer as a completion of the prompt."""
    thought_written: bool
    """Whether it does so for an answer with a thought."""
    told: bool
    """Whether the parts above are all that an answer needs where it does not."""

    @property
    def ends_with_thought(self) -> bool:
        """Whether a completion that stops at ``turn_end`` stops before its answer."""
        return bool(self.turn_end) and self.turn_end in self.closing and not self.closed

    def marks(self, thought: bool) -> tuple[str, str]:
        """What precedes and what follows the ``thought`` of an answer."""
        if self.native:
            before = "" if self.opened else self.opening
            return (before, self.closing) if thought or self.opened else (self.lead, "")
        if self.opened:
            close = closing_tag(self.opened)
            return ("", close) if thought else ("", f"\n{close}\n\n")
        return (self.opening, self.closing) if thought else (self.lead, "")

    def read(self, text: str) -> str:
        """A completion, up to ``turn_end``, with its thought in tags and without what else stands
        around an answer."""
        for lead in (self.lead, self.lead.strip()):
            if lead and text.startswith(lead):
                text = text.removeprefix(lead)
                break
        text = text.removesuffix(self.tail)
        if self.native:
            text = text.replace(self.closing.strip(), "</think>")
            if self.opening.strip():
                text = text.replace(self.opening.strip(), "<think>")
        return text


def read_form(
    probes: Probes, control: ControlTokens, eos: str, bos: str, vocabulary: Collection[str]
) -> AnswerForm:
    """The form that ``probes`` show. ``eos`` and ``bos`` are the tokenizer's, or "";
    ``vocabulary`` are the tokens that it was given by name."""
    prompt, header = probes.prompt, probes.prompt.rpartition(QUESTION)[2]
    before_answer = probes.closed.partition(ANSWER)[0]
    before_thought, _, rest = probes.thoughtful.partition(THOUGHT)
    opened = opening_tag(prompt)
    shared = control.shared(prompt, before_answer, before_thought or prompt)

    opening, closing, native = "", "", False
    if probes.thought_apart:
        tag = opening_tag(before_thought)
        native = not tag
        opening = before_thought[before_thought.rfind(tag) if tag else len(shared) :]
        closing = rest.partition(ANSWER)[0]
    else:
        for first, last, tokens in _UNWRITTEN:
            if tokens <= {*vocabulary}:
                opening, closing, native = first, last, True
    if native and prompt.rstrip().endswith(opening.strip()):
        opened = "<think>"

    turn_end, tail = _end(probes, control, eos, bos, closing)
    inside = bool(native and opening.strip() and opening.strip() in header)
    closed = not opened and (has_tag(header) or inside)
    told = QUESTION in shared and (bool(opened) or closed or prompt == shared)
    lead = before_answer[len(shared) :]
    if not told or opened or has_tag(lead) or not lead.strip():
        lead = ""
    written = before_answer.startswith(prompt)
    if opened:
        close = closing.strip() if native else closing_tag(opened)
        written = written and close in before_answer[len(prompt) :]
    return AnswerForm(
        turn_end=turn_end,
        tail=tail,
        lead=lead,
        opening=opening,
        closing=closing if probes.thought_apart else closing + lead,
        native=native,
        opened=opened,
        closed=closed,
        written=written,
        thought_written=_opens_once(prompt, before_thought)
        and (probes.thought_apart or not native),
        told=told,
    )


def _opens_once(prompt: str, before_thought: str) -> bool:
    """Whether ``before_thought`` is the prompt and, unless the prompt has it, one tag at most."""
    if not before_thought.startswith(prompt):
        return False
    more = before_thought[len(prompt) :]
    tag = opening_tag(more)
    return not has_tag(more.rpartition(tag)[0] if tag and not opening_tag(prompt) else more)


def _end(
    probes: Probes, control: ControlTokens, eos: str, bos: str, closing: str
) -> tuple[str, str]:
    """The token that ends an answer, or "", and the tokens before it."""
    after, on = _between(probes.closed), _between(probes.went_on)
    turn_end = control.first(after)
    if eos and eos in after and eos in on:
        turn_end = eos
    elif turn_end and turn_end in closing:
        # A token that also ends a part of an answer does not end all of it.
        turn_end = next((token for token in control.all(after) if token not in closing), turn_end)
    if not turn_end:
        # Some templates close an answer only when a turn follows.
        after, turn_end = on, control.first(on)
        turn_end = "" if turn_end == bos != eos else turn_end
    tail = after.partition(turn_end)[0] if turn_end else ""
    return turn_end, tail if tail.strip() else ""


def _between(text: str) -> str:
    """What a rendered conversation writes after the first answer."""
    return text.partition(ANSWER)[2].partition(NEXT)[0]
