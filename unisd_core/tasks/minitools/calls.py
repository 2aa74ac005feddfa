"""Tool calls as text: written, read strictly, and compared argument by argument.

One call is two lines, ``Action: <name>`` and ``Action Input: <JSON object>``; several calls
follow one another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_HEAD = re.compile(
    r"^[ \t]*Action:[ \t]*(?P<name>[^\n]*?)[ \t]*\n\s*Action Input:[ \t]*(?=\{)", re.MULTILINE
)
_THOUGHT = re.compile(r"\s*(?:Thought:[^\n]*\n)?\s*")


@dataclass(frozen=True)
class Call:
    """A tool's name and its arguments by name."""

    action: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Reading:
    """Calls found in a text; ``clean`` when nothing but white space and one leading
    ``Thought:`` line surrounds them and no block was malformed."""

    calls: tuple[Call, ...]
    clean: bool


def write_calls(calls: Sequence[Call]) -> str:
    """The calls in the form ``read_calls`` reads, arguments in the given order."""
    return "\n".join(
        f"Action: {call.action}\nAction Input: {json.dumps(dict(call.arguments))}" for call in calls
    )


def read_calls(text: str) -> Reading:
    """Every well-formed call in ``text``; never raises.

    JSON is read strictly: duplicate keys, NaN and infinities make a block malformed.
    """
    calls = []
    clean = True
    position = 0
    while (head := _HEAD.search(text, position)) is not None:
        before = text[position : head.start()]
        clean &= bool(_THOUGHT.fullmatch(before)) if position == 0 else not before.strip()
        try:
            arguments, position = _DECODER.raw_decode(text, head.end())
        except (ValueError, RecursionError):
            clean, position = False, head.end()
            continue
        calls.append(Call(head["name"], arguments))
    return Reading(tuple(calls), clean and bool(calls) and not text[position:].strip())


def same_value(predicted: Any, gold: Any) -> bool:
    """Whether a JSON value is the gold one: same type and equal.

    A gold float takes any JSON number of that value (4 for 4.0), since the argument is typed as
    a number; a gold integer takes an integer only, so 3.0, "3" and true are not 3.
    """
    if isinstance(gold, float):
        is_number = isinstance(predicted, int | float) and not isinstance(predicted, bool)
        return is_number and predicted == gold
    return type(predicted) is type(gold) and predicted == gold


def argument_score(predicted: Sequence[Call], gold: Sequence[Call]) -> float:
    """Right arguments over all arguments named by either side, calls paired by position, in [0, 1].

    Missing, extra and wrongly typed arguments all count against the prediction.
    """
    right = total = 0
    for index in range(max(len(predicted), len(gold))):
        ours = predicted[index].arguments if index < len(predicted) else {}
        theirs = gold[index].arguments if index < len(gold) else {}
        total += len(ours.keys() | theirs.keys())
        right += sum(same_value(ours[key], theirs[key]) for key in ours.keys() & theirs.keys())
    return right / total if total else 1.0


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("duplicate key")
    return fields


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
