"""Calls in tags: ``<function=name>`` with JSON or with a tag for each argument, and GLM's pairs."""

from __future__ import annotations

import re

from unisd_core.tasks.reading.call import Call, Untyped, read_arguments, read_json

_SPACE = r"(?:｜DSML｜|\w{1,20}:)?"
_IS = r"(?:=|\s{1,3}name\s{0,3}=\s{0,3})[\"']?"
TAG = rf"<{_SPACE}(?:function|invoke){_IS}(?P<tag>[\w.-]{{1,200}}+)[\"']?\s*+>"
"""``<function=name>`` of Llama 3.1 and Qwen3-Coder, ``<invoke name="name">`` of others."""
TAGGED_NAME = r"<tool_call>\s*+(?P<glm>[\w.-]{1,200}+)\s*+(?=<arg_key>|</tool_call>)"
"""``<tool_call>name`` of GLM."""

_BLANK = re.compile(r"\s*+")
_END = re.compile(rf"</{_SPACE}(?:function|invoke)>")
_PARAMETER = re.compile(
    rf"\s*+<{_SPACE}parameter{_IS}(?P<key>[^<>\"'\s]{{1,200}}+)[\"']?[^<>]{{0,100}}+>"
)
_PARAMETER_END = re.compile(rf"</{_SPACE}parameter>")
_PAIR = re.compile(r"\s*+<arg_key>(?P<key>[^<>]{1,200}+)</arg_key>\s*+<arg_value>")
_PAIR_END = re.compile(r"</arg_value>")


def read_tagged(text: str, opening: re.Match[str]) -> tuple[Call, int] | None:
    """The call that begins with ``opening``, a match of ``TAG`` or ``TAGGED_NAME``, and where it
    ends; None where it is malformed.

    The arguments are ``Untyped`` where each has a tag of its own.
    """
    start = _after_blank(text, opening.end())
    if opening["glm"]:
        return _fields(text, opening["glm"], start, _PAIR, _PAIR_END, re.compile("</tool_call>"))
    if not text.startswith("{", start):
        return _fields(text, opening["tag"], start, _PARAMETER, _PARAMETER_END, _END)
    value = read_json(text, start)
    arguments = None if value is None else read_arguments(value[0])
    if value is None or arguments is None:
        return None
    end = _END.match(text, _after_blank(text, value[1]))
    return Call(opening["tag"], arguments), end.end() if end else value[1]


def _fields(
    text: str,
    name: str,
    position: int,
    field: re.Pattern[str],
    field_end: re.Pattern[str],
    end: re.Pattern[str],
) -> tuple[Call, int] | None:
    arguments: dict[str, Untyped] = {}
    while (head := field.match(text, position)) is not None:
        tail = field_end.search(text, head.end())
        key = head["key"].strip()
        if tail is None or not key or key in arguments:
            return None
        value = text[head.end() : tail.start()]
        # Templates write each value on lines of its own.
        arguments[key] = Untyped(value.removeprefix("\n").removesuffix("\n"))
        position = tail.end()
    last = end.match(text, _after_blank(text, position))
    if last is None and not arguments:
        return None
    return Call(name, arguments), last.end() if last else position


def _after_blank(text: str, position: int) -> int:
    found = _BLANK.match(text, position)
    return found.end() if found else position
