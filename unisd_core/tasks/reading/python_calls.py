"""Calls as Python writes them, ``get_weather(city="Paris")``: parsed, never run."""

from __future__ import annotations

import ast
import math
import re
import warnings
from typing import Any

from unisd_core.tasks.reading.call import Call, read_arguments

_PLACE = "<calls>"
_JSON_NAMES = {"true": True, "false": False, "null": None}
_TOKEN = re.compile(
    r"""(?P<text>"(?:[^"\\\n]|\\.)*+"|'(?:[^'\\\n]|\\.)*+')|(?P<open>[\[({])|(?P<close>[\])}])"""
    r"""|(?P<torn>["'])""",
    re.DOTALL,
)

# From Python 3.12 on the parser warns of each "\d" in a plain string; that is not our text.
warnings.filterwarnings("ignore", module=re.escape(_PLACE))


def closing(text: str, start: int) -> int | None:
    """The end of the bracket that opens at ``start``; None where it is never closed."""
    depth = 0
    for token in _TOKEN.finditer(text, start):
        if token["torn"]:
            return None
        depth += bool(token["open"]) - bool(token["close"])
        if not depth and token["close"]:
            return token.end()
    return None


def python_calls(code: str) -> list[Call] | None:
    """The calls of ``code``, which holds nothing else: calls or lists of calls, one after another,
    each perhaps printed. None otherwise.

    Arguments have names and literal values; JSON's true, false and null are read too.
    """
    try:
        tree = ast.parse(code, _PLACE)
        calls = [call for line in tree.body for call in _calls(line)]
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    return calls or None


def _calls(line: ast.stmt) -> list[Call]:
    if not isinstance(line, ast.Expr):
        raise ValueError("no expression")
    nodes = line.value.elts if isinstance(line.value, ast.List | ast.Tuple) else [line.value]
    return [_call(node) for node in nodes]


def _call(node: ast.expr) -> Call:
    match node:
        case ast.Call(func=ast.Name(id="print"), args=[ast.Call() as printed], keywords=[]):
            return _call(printed)
        case ast.Call(args=[]):
            given = [(keyword.arg, _value(keyword.value)) for keyword in node.keywords]
            arguments = read_arguments({name: value for name, value in given if name is not None})
            if arguments is None or len(arguments) != len(given):
                raise ValueError("arguments that have no names, or the same")
            return Call(_name(node.func).removeprefix("default_api."), arguments)
    raise ValueError("no call by names")


def _name(node: ast.expr) -> str:
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return f"{_name(node.value)}.{node.attr}"
    raise ValueError("no name")


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=str() | int() | None as value):
            return value
        case ast.Constant(value=float() as value) if math.isfinite(value):
            return value
        case ast.Name(id="true" | "false" | "null"):
            return _JSON_NAMES[node.id]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            if not isinstance(value, bool) and math.isfinite(value):
                return -value
        case ast.List() | ast.Tuple():
            return [_value(item) for item in node.elts]
        case ast.Dict():
            pairs = [
                (_value(key), _value(value))
                for key, value in zip(node.keys, node.values, strict=True)
                if key is not None
            ]
            fields = {key: value for key, value in pairs if isinstance(key, str)}
            if len(fields) == len(node.keys):
                return fields
    raise ValueError("no literal")
