"""Fields of a record that hold its tests: Python, asserts in a list, or inputs with outputs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unisd_core.common.errors import UserError
from unisd_core.tasks.data import Record

_OTHERS = ("test", "test_list", "input_output")
"""Names of the field ``tests`` in HumanEval, MBPP and APPS."""
_INPUTS = ("inputs", "input")
_OUTPUTS = ("outputs", "output")
_STREAMS = ("stdin", "stdin_stdout", None)


@dataclass(frozen=True)
class Streams:
    """What a script is given on its standard input, and what it has to print."""

    inputs: list[str]
    outputs: list[str]


def read_tests(record: Record) -> str | Streams:
    """The tests of ``record`` as Python or as streams.

    Raises UserError naming the row where there are none, two fields compete, or a form is not
    known.
    """
    key, value = _given(record)
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        imports = record.fields.get("test_imports") and record.texts("test_imports")
        parts = [*(imports or []), record.optional_text("test_setup_code"), *value]
        return "\n".join(part for part in parts if part.strip())
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        pairs = [_pair(record, key, item) for item in value]
        return _streams(record, key, [a for a, _ in pairs], [b for _, b in pairs])
    if isinstance(value, Mapping):
        given, wanted = _pair(record, key, value)
        if not (isinstance(given, list) and isinstance(wanted, list)):
            given, wanted = [given], [wanted]
        name = value.get("fn_name")
        return _calls(record, key, name, given, wanted) if name else _streams(
            record, key, given, wanted
        )  # fmt: skip
    if not isinstance(value, str) or not value.strip():
        raise UserError(
            f"{record.place}: field {key!r} must be text, a list of asserts, or inputs with outputs"
        )
    setup = record.optional_text("test_setup_code")
    return f"{setup}\n{value}" if setup.strip() else value


def _given(record: Record) -> tuple[str, Any]:
    if record.fields.get("tests") not in (None, ""):
        return "tests", record.fields["tests"]
    keys = [key for key in _OTHERS if record.fields.get(key) not in (None, "")]
    if len(keys) > 1:
        raise UserError(f"{record.place}: fields {' and '.join(keys)} both hold tests; keep one")
    return (keys[0], record.fields[keys[0]]) if keys else ("tests", record.text("tests"))


def _pair(record: Record, key: str, fields: Mapping[str, Any]) -> tuple[Any, Any]:
    """Input and output of one mapping, each under one of its names."""
    given = [name for name in _INPUTS if fields.get(name) is not None]
    wanted = [name for name in _OUTPUTS if fields.get(name) is not None]
    kinds = {fields.get("type"), fields.get("testtype")}
    known = {*_INPUTS, *_OUTPUTS, "type", "testtype", "fn_name"}
    if (
        len(given) != 1
        or len(wanted) != 1
        or not kinds <= set(_STREAMS)
        or not fields.keys() <= known
    ):
        raise UserError(
            f"{record.place}: field {key!r} must give 'input' and 'output' of a script, as text "
            f"(found {', '.join(map(str, fields))}); write other tests as asserts"
        )
    return fields[given[0]], fields[wanted[0]]


def _streams(record: Record, key: str, given: list[Any], wanted: list[Any]) -> Streams:
    # APPS has some inputs and outputs as a list of lines.
    texts = [
        ["\n".join(one) if isinstance(one, list) and _all_text(one) else one for one in side]
        for side in (given, wanted)
    ]
    if not given or len(given) != len(wanted) or not all(map(_all_text, texts)):
        raise UserError(
            f"{record.place}: field {key!r} must give one output for each input, all as text; "
            "fix the row"
        )
    return Streams(*texts)


def _all_text(items: list[Any]) -> bool:
    return all(isinstance(item, str) for item in items)


def _calls(record: Record, key: str, name: Any, given: list[Any], wanted: list[Any]) -> str:
    """Asserts for a function, given lists of arguments and results."""
    fits = isinstance(name, str) and name.isidentifier() and len(given) == len(wanted) > 0
    if not fits or not all(isinstance(one, list) for one in given):
        raise UserError(
            f"{record.place}: field {key!r} must give the name of a function, a list of arguments "
            "for each call, and as many results; fix the row"
        )
    pairs = zip(given, wanted, strict=True)
    return "\n".join(f"assert {name}(*{one!r}) == {result!r}" for one, result in pairs)
