"""Call: a tool's name with its arguments, and strict JSON, in which arguments are written."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

MAX_DEPTH = 32
"""Nesting of arguments beyond which a call is malformed: comparing and writing recurse."""


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


class Untyped(str):
    """An argument from a form that writes every value as plain text, as XML does."""

    __slots__ = ()

    def typed(self) -> Any:
        """The JSON value (or Python's True, False, None) that the text is, else the text."""
        if self in _PYTHON_NAMES:
            return _PYTHON_NAMES[self]
        try:
            value = STRICT_JSON.decode(self)
        except (ValueError, RecursionError):
            return str(self)
        return value if _is_shallow(value) else str(self)


def read_arguments(value: Any) -> dict[str, Any] | None:
    """The arguments of a call, given as an object or as text that holds one; None when malformed
    or nested deeper than ``MAX_DEPTH``."""
    if isinstance(value, str):
        try:
            value = STRICT_JSON.decode(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) and _is_shallow(value) else None


def typed_arguments(call: Call) -> dict[str, Any]:
    """The arguments of ``call`` as JSON values; see ``Untyped``."""
    return {
        name: value.typed() if isinstance(value, Untyped) else value
        for name, value in call.arguments.items()
    }


def read_json(text: str, start: int) -> tuple[Any, int] | None:
    """The JSON value that begins at ``start`` and where it ends; None where it is malformed."""
    try:
        return STRICT_JSON.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None


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
_PYTHON_NAMES = {"True": True, "False": False, "None": None}
