"""References in the form the prompt asks for: Thought, Action, Action Input."""

from __future__ import annotations

import re
from collections.abc import Sequence

from unisd_core.tasks.reading.call import Call
from unisd_core.tasks.reading.tool_calls import write_calls

_ACTION = re.compile(r"^[ \t>*_#-]*+action\b", re.IGNORECASE | re.MULTILINE)
_THOUGHT = re.compile(
    r"^[ \t>*_#-]*+thought[ \t]*+\d*+[ \t*_]*+:[ \t*_]*+", re.IGNORECASE | re.MULTILINE
)


def write_reference(thought: str, calls: Sequence[Call]) -> str:
    """One thought, then the calls."""
    return f"Thought: {thought}\n{write_calls(calls)}"


def read_thought(text: str) -> str:
    """The last thought before the first action, on one line; "" when none is labelled."""
    thoughts = _THOUGHT.split(_ACTION.split(text, maxsplit=1)[0])
    return " ".join(thoughts[-1].split()) if len(thoughts) > 1 else ""


def plain_thought(calls: Sequence[Call]) -> str:
    """The thought of an answer that is published without one; right or wrong alike."""
    return f"I need to call {', then '.join(call.action for call in calls)}."


def retell(thought: str, right: Sequence[Call], wrong: Sequence[Call]) -> str:
    """``thought`` with each name and value of ``right`` that ``wrong`` changes replaced by what
    it became, so that the thought of a wrong reference does not name the right one."""
    for ours, theirs in zip(right, wrong, strict=False):
        changes = [(ours.action, theirs.action)]
        for name, value in ours.arguments.items():
            changes.append((str(value), str(theirs.arguments.get(name, value))))
        for old, new in changes:
            if old and old != new:
                literal = new.replace("\\", r"\\")
                thought = re.sub(rf"(?<!\w){re.escape(old)}(?!\w)", literal, thought)
    return thought
