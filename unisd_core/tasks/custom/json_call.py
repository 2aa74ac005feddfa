"""The metric of tool calls written as JSON."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from unisd_core.common.errors import UserError
from unisd_core.tasks.custom.metric import Metric
from unisd_core.tasks.data import Record
from unisd_core.tasks.reading.tool_calls import STRICT_JSON, Call, find_calls, score_calls
from unisd_core.tasks.row import AnswerScore, Row

_JSON = re.compile(r"[\[{].*[\]}]", re.DOTALL)
_NAMES = ("name", "action", "Action")
_ARGUMENTS = ("arguments", "action_input", "Action_Input")
_LAYOUTS: tuple[dict[str, Any], ...] = (
    {},
    {"separators": (",", ":")},
    {"indent": 2},
    {"indent": 4},
    {"ensure_ascii": True},
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
        return {"calls": [[call.action, dict(call.arguments)] for call in reading.calls]}

    def score(self, details: Mapping[str, Any], completion: str) -> AnswerScore:
        gold = [Call(action, arguments) for action, arguments in details["calls"]]
        return score_calls(find_calls(completion), gold)

    def wrong(self, row: Row, others: Sequence[Row], rng: random.Random) -> str | None:
        """The reference with one call made wrong: another name, another value of one argument, or
        an argument left out. Names and values are borrowed from other rows where they have any."""
        found = _JSON.search(row.reference)
        if found is None:
            return None
        try:
            value = STRICT_JSON.decode(found[0])
        except (ValueError, RecursionError):
            return None
        layout = next((x for x in _LAYOUTS if _write(value, x) == found[0]), _LAYOUTS[0])
        calls = value.get("tool_calls", value) if isinstance(value, dict) else value
        call = rng.choice(calls) if isinstance(calls, list) else calls
        lent = [pair for other in others for pair in other.details["calls"]]
        if not isinstance(call, dict) or not _corrupt(call, lent, rng):
            return None
        return row.reference[: found.start()] + _write(value, layout) + row.reference[found.end() :]


def _write(value: Any, layout: Mapping[str, Any]) -> str:
    return json.dumps(value, **{"ensure_ascii": False, **layout})


def _corrupt(call: dict[str, Any], lent: Sequence[Any], rng: random.Random) -> bool:
    """Make ``call`` wrong in place; False where nothing can be changed."""
    label = next((key for key in _NAMES if key in call), "")
    names = sorted({action for action, _ in lent} - {call.get(label)}) if label else []
    nested = [call[key] for key in _ARGUMENTS if isinstance(call.get(key), dict)]
    arguments: dict[str, Any] = nested[0] if nested else {}
    kinds = [*(["name"] if names else []), *(["value", "drop"] if arguments else [])]
    if not kinds:
        return False
    kind = rng.choice(kinds)
    if kind == "name":
        call[label] = rng.choice(names)
        return True
    key = rng.choice(list(arguments))
    if kind == "drop":
        del arguments[key]
    else:
        values = [fields[key] for _, fields in lent if key in fields]
        arguments[key] = _other(arguments[key], values, rng)
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
