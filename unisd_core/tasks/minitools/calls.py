"""The strict reading of tool calls: the form is part of this task."""

from __future__ import annotations

import re

from unisd_core.common.thoughts import after_thought
from unisd_core.tasks.reading.call import STRICT_JSON, Call, Reading, read_arguments

# Possessive, since model text may hold long runs of blanks.
_HEAD = re.compile(
    r"^[ \t]*+Action:(?P<name>[^\n]*+)\n\s*+Action Input:[ \t]*+(?=\{)", re.MULTILINE
)
_THOUGHT = re.compile(r"\s*+(?:Thought:[^\n]*+\n)?+\s*+")


def read_calls(text: str) -> Reading:
    """Every well-formed call after the thoughts of ``text``; never raises.

    Clean when nothing but white space and one leading ``Thought:`` line surrounds the calls and
    no block was malformed. JSON is read strictly: duplicate keys, NaN, infinities and deep nesting
    make a block malformed.
    """
    text = after_thought(text)
    calls = []
    clean = True
    position = 0
    while (head := _HEAD.search(text, position)) is not None:
        before = text[position : head.start()]
        clean &= bool(_THOUGHT.fullmatch(before)) if position == 0 else not before.strip()
        try:
            value, end = STRICT_JSON.raw_decode(text, head.end())
        except (ValueError, RecursionError):
            clean, position = False, head.end()
            continue
        arguments, position = read_arguments(value), end
        if arguments is None:
            clean = False
        else:
            calls.append(Call(head["name"].strip(" \t"), arguments))
    return Reading(tuple(calls), clean and bool(calls) and not text[position:].strip())
