"""Tool calls as text: found in what a model wrote, and written as ReAct lines.

In ReAct form one call is two lines, ``Action: <name>`` and ``Action Input: <JSON object>``;
several calls follow one another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from unisd_core.common.thoughts import after_thought
from unisd_core.tasks.reading.call import Call, Reading, read_arguments, read_json
from unisd_core.tasks.reading.native_calls import native_calls

# Possessive, since model text may hold long runs of blanks.
_LABEL = re.compile(
    r"^[ \t>*_#-]*+action[ \t]*+\d*+(?P<input>[ \t_]*+input[ \t]*+\d*+)?+[ \t*_]*+:[ \t*_]*+",
    re.IGNORECASE | re.MULTILINE,
)
_BEFORE_INPUT = re.compile(r"\A\s*+(?:```\w*+\s*+|`)?+")


def write_calls(calls: Sequence[Call]) -> str:
    """The calls as ReAct lines, arguments in the given order."""
    return "\n".join(
        f"Action: {call.action}\n"
        f"Action Input: {json.dumps(dict(call.arguments), ensure_ascii=False)}"
        for call in calls
    )


def find_calls(text: str) -> Reading:
    """Every well-formed call after the thoughts of ``text``, whatever stands around it; never
    raises.

    Read are ReAct lines (labels in any case, marked up or numbered; input on the next lines or
    fenced) or, where no line has such a label, the forms of the model families; see
    ``native_calls``. Inputs must be strict JSON objects, or strings that hold one. A label without
    its counterpart, other input, and JSON that is no call leave the reading unclean.
    """
    text = after_thought(text)
    labels = list(_LABEL.finditer(text))
    return _react_calls(text, labels) if labels else native_calls(text)


def _react_calls(text: str, labels: Sequence[re.Match[str]]) -> Reading:
    calls = []
    clean = True
    name: str | None = None
    ends = [*(label.start() for label in labels[1:]), len(text)]
    for label, end in zip(labels, ends, strict=True):
        # A line that starts with a label cannot be part of JSON, so no value reaches beyond it.
        said = text[label.end() : end]
        if label["input"] is None:
            clean &= name is None
            name = said.strip(" \t\r\n*`\"'")
            continue
        arguments = _leading_arguments(said)
        if name and "\n" not in name and arguments is not None:
            calls.append(Call(name, arguments))
        else:
            clean = False
        name = None
    return Reading(tuple(calls), clean and name is None and bool(calls))


def _leading_arguments(text: str) -> dict[str, Any] | None:
    found = read_json(_BEFORE_INPUT.sub("", text, count=1), 0)
    return None if found is None else read_arguments(found[0])
