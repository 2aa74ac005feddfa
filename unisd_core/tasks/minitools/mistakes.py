"""Kinds of wrong calls a model is asked for, and the strict reading of what it writes."""

from __future__ import annotations

from collections.abc import Sequence

from unisd_core.tasks.minitools.calls import read_calls
from unisd_core.tasks.minitools.catalogue import UNSEEN
from unisd_core.tasks.minitools.generation import describe
from unisd_core.tasks.reading.call import Call
from unisd_core.tasks.reading.tool_calls import write_calls

MISTAKES = {
    "wrong-action": "it calls another tool than the one that is needed",
    "wrong-arguments": "it calls the right tool with a wrong value",
    "wrong-interpretation": "it misunderstands the request and does something else",
    "extra-call": "it makes one more call that nobody asked for",
}
"""Kind -> what is wrong with the answer (docs/method.md, "Wrong references")."""

_PROMPT = """{prompt}

The right answer is:
{reference}

Write a wrong answer that looks right at first sight: {mistake}. Keep the form of the right answer \
and write nothing else."""


def mistake_prompt(kind: str, prompt: str, reference: str) -> str:
    """The user turn that asks for an answer to ``prompt`` with a mistake of ``kind``."""
    return _PROMPT.format(prompt=prompt, reference=reference, mistake=MISTAKES[kind])


def read_wrong_calls(text: str, shown: Sequence[str], wanted: int) -> list[Call] | None:
    """The calls in ``text``, whatever stands around them; None when they cannot be a reference.

    That is: no calls, more than one beyond the ``wanted``, a name that is none, a held-out tool
    that the prompt does not show, or values that do not survive being written.
    """
    calls = list(read_calls(text).calls)
    if not 1 <= len(calls) <= wanted + 1:
        return None
    for call in calls:
        if not call.action.isidentifier() or (call.action in UNSEEN and call.action not in shown):
            return None
    again = read_calls(write_calls(calls))
    if not again.clean or list(again.calls) != calls or not describe(calls).isprintable():
        return None
    return calls
