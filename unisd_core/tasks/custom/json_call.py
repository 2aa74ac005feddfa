"""The metric of tool calls, written as JSON or in another form that is read."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unisd_core.common.errors import UserError
from unisd_core.common.thoughts import after_thought
from unisd_core.tasks.custom.metric import Metric
from unisd_core.tasks.data import Record
from unisd_core.tasks.reading.call import Call, read_arguments, read_json, typed_arguments
from unisd_core.tasks.reading.call_comparison import score_calls
from unisd_core.tasks.reading.json_calls import arguments_key, call_objects, calls_of, name_key
from unisd_core.tasks.reading.tool_calls import find_calls
from unisd_core.tasks.row import AnswerScore, Row

_VALUE = re.compile(r"\[/?TOOL_CALLS\]|(?P<bracket>[\[{])")
_LAYOUTS: tuple[dict[str, Any], ...] = tuple(
    {"separators": separators, "indent": indent, "ensure_ascii": ascii}
    for ascii in (False, True)
    for indent in (None, 2, 4, 1, "\t")
    for separators in ((", " if indent is None else ",", ": "), (",", ":"), (", ", ": "))
)


class JsonCall(Metric):
    """Calls such as ``{"name": "add", "arguments": {"a": 1}}``, one or a list: right when names,
    order and all arguments with their types are; see ``find_calls``."""

    def details(self, record: Record, wanted: str) -> dict[str, Any]:
        reading = find_calls(wanted)
        if not reading.clean:
            raise UserError(
                f"{record.place}: the answer must hold JSON calls such as "
                '{"name": "add", "arguments": {"a": 1}}; fix the row'
            )
        return {"calls": [[call.action, typed_arguments(call)] for call in reading.calls]}

    def score(self, details: Mapping[str, Any], completion: str) -> AnswerScore:
        gold = [Call(action, arguments) for action, arguments in details["calls"]]
        return score_calls(find_calls(completion), gold)

    def wrong(self, row: Row, others: Sequence[Row], rng: random.Random) -> str | None:
        """The reference with one call made wrong: another name, another value of one argument, or
        an argument left out. Names and values are borrowed from other rows where they have any.

        None for calls that are not whole JSON objects, and for JSON in an unusual layout.
        """
        answer = after_thought(row.reference)
        values = list(_values(answer))
        read = [call for place in values for call in calls_of(place.value, marked=True)]
        if not read or read != list(find_calls(answer).calls):
            return None
        calls = [(place, item) for place in values for item in call_objects(place.value)[0]]
        place, call = rng.choice(calls) if len(calls) > 1 else calls[0]
        lent = [pair for other in others for pair in other.details["calls"]]
        layout = _layout(place.value, answer[place.start : place.end])
        if layout is None or not _corrupt(call, lent, rng):
            return None
        thought = row.reference[: len(row.reference) - len(answer)]
        changed = _write(place.value, layout)
        return thought + answer[: place.start] + changed + answer[place.end :]


@dataclass(frozen=True)
class _Place:
    """A JSON value and where it stands in a text."""

    value: Any
    start: int
    end: int


def _values(text: str) -> Iterator[_Place]:
    """The JSON values of ``text`` in order, up to the first that is malformed."""
    position = 0
    while (opening := _VALUE.search(text, position)) is not None:
        position = opening.end()
        if opening["bracket"]:
            found = read_json(text, opening.start())
            if found is None:
                return
            value, position = found
            yield _Place(value, opening.start(), position)


def _layout(value: Any, text: str) -> Mapping[str, Any] | None:
    """How ``text`` writes ``value``."""
    return next((layout for layout in _LAYOUTS if _write(value, layout) == text), None)


def _write(value: Any, layout: Mapping[str, Any]) -> str:
    return json.dumps(value, **layout)


def _corrupt(call: Any, lent: Sequence[Any], rng: random.Random) -> bool:
    """Make ``call`` wrong in place; False where nothing can be changed."""
    if not isinstance(call, dict):
        return False
    label, holder = name_key(call), arguments_key(call)
    names = sorted({action for action, _ in lent} - {call[label]}) if label else []
    text = call[holder] if holder else None
    arguments: dict[str, Any] = (read_arguments(text) or {}) if holder else {}
    layout = _layout(arguments, text) if isinstance(text, str) else None
    if isinstance(text, str) and layout is None:
        arguments = {}
    kinds = [*(["name"] if names else []), *(["value", "drop"] if arguments else [])]
    if not kinds:
        return False
    kind = rng.choice(kinds)
    if kind == "name" and label:
        call[label] = rng.choice(names)
        return True
    key = rng.choice(list(arguments))
    if kind == "drop":
        del arguments[key]
    else:
        values = [fields[key] for _, fields in lent if key in fields]
        arguments[key] = _other(arguments[key], values, rng)
    if holder:
        call[holder] = _write(arguments, layout) if layout else arguments
    return True


def _other(value: Any, lent: Sequence[Any], rng: random.Random) -> Any:
    """Another value: of the same argument in other rows, else one made up by type."""
    values = [item for item in lent if type(item) is type(value) and item != value]
    if values:
        return rng.choice(values)
    match value:
        case bool():
            return not value
        case int() | float():
            return value + rng.choice((1, 2, 10))
        case str():
            return f"{value} {value}" if value else "none"
        case list() if value:
            return value[:-1]
    return None if value is not None else "none"
