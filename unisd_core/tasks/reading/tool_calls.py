"""Tool calls as text: found in what a model wrote, written as ReAct lines, compared by argument.

In ReAct form one call is two lines, ``Action: <name>`` and ``Action Input: <JSON object>``;
several calls follow one another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unisd_core.tasks.row import AnswerScore

MAX_DEPTH = 32
"""Nesting of arguments beyond which a call is malformed: comparing and writing recurse."""

# Possessive, since model text may hold long runs of blanks.
_LABEL = re.compile(
    r"^[ \t>*_#-]*+action[ \t]*+\d*+(?P<input>[ \t_]*+input[ \t]*+\d*+)?+[ \t*_]*+:[ \t*_]*+",
    re.IGNORECASE | re.MULTILINE,
)
_BEFORE_INPUT = re.compile(r"\A\s*+(?:```\w*+\s*+|`)?+")
_BRACKET = re.compile(r"[\[{]")


@dataclass(frozen=True)
class Call:
    """A tool's name and its arguments by name."""

    action: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Reading:
    """Calls found in a text; ``clean`` when there are some and nothing broke the reader's rules."""

    calls: tuple[Call, ...]
    clean: bool


def write_calls(calls: Sequence[Call]) -> str:
    """The calls as ReAct lines, arguments in the given order."""
    return "\n".join(
        f"Action: {call.action}\n"
        f"Action Input: {json.dumps(dict(call.arguments), ensure_ascii=False)}"
        for call in calls
    )


def find_calls(text: str) -> Reading:
    """Every well-formed call in ``text``, whatever stands around it; never raises.

    Read are ReAct lines (labels in any case, marked up or numbered; input on the next lines or
    fenced) or, where no line has such a label, JSON: ``{"tool_calls": [...]}``, a list of calls,
    or single calls, each with ``Action`` and ``Action_Input`` or ``name`` and ``arguments``.
    Inputs must be strict JSON objects, or strings that hold one. A label without its
    counterpart, other input, and JSON that is no call leave the reading unclean.
    """
    labels = list(_LABEL.finditer(text))
    return _react_calls(text, labels) if labels else _json_calls(text)


def read_arguments(value: Any) -> dict[str, Any] | None:
    """The arguments of a call, given as an object or as text that holds one; None when malformed
    or nested deeper than ``MAX_DEPTH``."""
    if isinstance(value, str):
        try:
            value = STRICT_JSON.decode(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) and _is_shallow(value) else None


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
    try:
        value, _ = STRICT_JSON.raw_decode(_BEFORE_INPUT.sub("", text, count=1))
    except (ValueError, RecursionError):
        return None
    return read_arguments(value)


def _json_calls(text: str) -> Reading:
    calls = []
    clean = True
    position = 0
    while (bracket := _BRACKET.search(text, position)) is not None:
        try:
            value, position = STRICT_JSON.raw_decode(text, bracket.start())
        except (ValueError, RecursionError):
            clean = False
            break
        if isinstance(value, dict) and isinstance(value.get("tool_calls"), list):
            value = value["tool_calls"]
        for item in value if isinstance(value, list) else [value]:
            call = _json_call(item)
            if call is None:
                clean = False
            else:
                calls.append(call)
    return Reading(tuple(calls), clean and bool(calls))


def _json_call(item: Any) -> Call | None:
    if not isinstance(item, dict):
        return None
    fields = {key.lower().replace(" ", "_"): value for key, value in item.items()}
    name = fields.get("action", fields.get("name"))
    arguments = read_arguments(fields.get("action_input", fields.get("arguments")))
    if not isinstance(name, str) or not name.strip() or arguments is None:
        return None
    return Call(name.strip(), arguments)


def same_value(predicted: Any, gold: Any) -> bool:
    """Whether a JSON value is the gold one: same type and equal.

    A gold float takes any JSON number of that value (4 for 4.0), since the argument is typed as
    a number; a gold integer takes an integer only, so 3.0, "3" and true are not 3.
    """
    if isinstance(gold, float):
        is_number = isinstance(predicted, int | float) and not isinstance(predicted, bool)
        return is_number and predicted == gold
    return type(predicted) is type(gold) and predicted == gold


def argument_score(
    predicted: Sequence[Call],
    gold: Sequence[Call],
    same: Callable[[Any, Any], bool] = same_value,
) -> float:
    """Right arguments over all arguments named by either side, calls paired by position, in [0, 1].

    Missing, extra and wrong arguments all count against the prediction; ``same(predicted, gold)``
    compares two values.
    """
    right = total = 0
    for index in range(max(len(predicted), len(gold))):
        ours = predicted[index].arguments if index < len(predicted) else {}
        theirs = gold[index].arguments if index < len(gold) else {}
        total += len(ours.keys() | theirs.keys())
        right += sum(same(ours[key], theirs[key]) for key in ours.keys() & theirs.keys())
    return right / total if total else 1.0


def score_calls(
    reading: Reading, gold: Sequence[Call], same: Callable[[Any, Any], bool] = same_value
) -> AnswerScore:
    """``correct`` asks for a clean reading of exactly the gold calls in order; ``parts["action"]``
    is 1 for the right tools in order, ``parts["arguments"]`` the ``argument_score``."""
    action = [call.action for call in reading.calls] == [call.action for call in gold]
    arguments = argument_score(reading.calls, gold, same)
    return AnswerScore(
        correct=reading.clean and action and arguments == 1.0,
        extracted=bool(reading.calls),
        parts={"action": float(action), "arguments": arguments},
    )


def _is_shallow(value: Any) -> bool:
    level: Collection[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [child for item in level for child in _children(item)]
    return not level


def _children(value: Any) -> Collection[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("duplicate key")
    return fields


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


STRICT_JSON = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
"""JSON in which duplicate keys, NaN and infinities are errors (ValueError)."""
