"""Calls as JSON objects, in the layouts of the model families."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unisd_core.tasks.reading.call import Call, read_arguments

NAMES = ("action", "name", "tool_name", "function")
ARGUMENTS = ("action_input", "arguments", "parameters")
_WRAPPERS = ("function", "function_call", "tool_call")
_BESIDE_A_NAME = {"id", "index", "type", *NAMES, *ARGUMENTS}
"""Fields that a call without arguments may have."""


def call_objects(value: Any) -> tuple[list[Any], bool]:
    """The items of ``value`` that stand for one call each, and whether a field such as
    ``tool_calls`` or ``function`` says that they do."""
    marked = False
    if isinstance(value, dict) and isinstance(value.get("tool_calls"), list):
        value, marked = value["tool_calls"], True
    items = [_inner(item) for item in (value if isinstance(value, list) else [value])]
    return [item for item, _ in items], marked or any(wrapped for _, wrapped in items)


def calls_of(value: Any, marked: bool) -> list[Call | None]:
    """The calls that a JSON value holds, None for each item that is none.

    An object with a name alone is a call only where ``marked`` or a field of ``value`` says that
    calls stand here, or beside a call with arguments: elsewhere it may be any object.
    """
    items, said = call_objects(value)
    complete = [read_call(item) for item in items]
    if marked or said or any(complete):
        return [
            call or _without_arguments(item) for call, item in zip(complete, items, strict=True)
        ]
    return complete


def read_call(item: Any) -> Call | None:
    """The call of an object with name and arguments; the arguments are an object, text that holds
    one, or empty (null, "")."""
    if not isinstance(item, dict):
        return None
    fields = _fields(item)
    given = [key for key in fields if key in ARGUMENTS]
    name = _name(fields)
    if name is None or len(given) != 1:
        return None
    value = fields[given[0]]
    if given[0] == "parameters" and _is_schema(fields, value):
        return None
    empty = value is None or (isinstance(value, str) and not value.strip())
    arguments = {} if empty else read_arguments(value)
    return None if arguments is None else Call(name, arguments)


def arguments_key(item: Mapping[str, Any]) -> str | None:
    """The key of ``item``, as it is written there, that holds a call's arguments."""
    return next((key for key in item if _plain(key) in ARGUMENTS), None)


def name_key(item: Mapping[str, Any]) -> str | None:
    """The key of ``item``, as it is written there, that holds the tool's name."""
    written = {_plain(key): key for key in item}
    return next((written[key] for key in NAMES if key in written), None)


def _inner(item: Any) -> tuple[Any, bool]:
    if isinstance(item, dict) and "name" not in item:
        for key in _WRAPPERS:
            if isinstance(item.get(key), dict):
                return item[key], True
    return item, False


def _fields(item: dict[str, Any]) -> dict[str, Any]:
    return {_plain(key): value for key, value in item.items()}


def _plain(key: str) -> str:
    return key.lower().replace(" ", "_")


def _name(fields: dict[str, Any]) -> str | None:
    name = next((fields[key] for key in NAMES if key in fields), None)
    return name.strip() if isinstance(name, str) and name.strip() else None


def _without_arguments(item: Any) -> Call | None:
    if not isinstance(item, dict):
        return None
    fields = _fields(item)
    name = _name(fields)
    if name is None or any(key in fields for key in ARGUMENTS) or fields.keys() - _BESIDE_A_NAME:
        return None
    return Call(name, {})


def _is_schema(fields: dict[str, Any], parameters: Any) -> bool:
    """Whether the object describes a tool, as prompts do, and does not call it."""
    described = isinstance(parameters, dict) and isinstance(parameters.get("properties"), dict)
    return "description" in fields or described
