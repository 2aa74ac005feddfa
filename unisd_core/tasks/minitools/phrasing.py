"""Puts a call into words: fills the sentences of ``Tool.requests`` with drawn arguments."""

from __future__ import annotations

import random
import re

from unisd_core.tasks.minitools.parameters import Value
from unisd_core.tasks.minitools.tools import Tool
from unisd_core.tasks.reading.call import Call

OPTIONAL_SHARE = 0.35
"""How often an optional argument is asked for."""

_OPTIONAL_PART = re.compile(r"\[([^\]]*)\]")
_SLOT = re.compile(r"\{(\w+)(?:\|([^|}]*)\|([^}]*))?\}")


def draw_call(tool: Tool, rng: random.Random, optional: bool = True) -> Call:
    """A call of ``tool`` with every required and, if ``optional``, some optional arguments.

    Arguments drawn from the same strings differ, so that none can be taken for the other.
    """
    arguments: dict[str, Value] = {}
    for parameter in tool.parameters:
        if parameter.optional and not (optional and rng.random() < OPTIONAL_SHARE):
            continue
        value = parameter.draw(rng)
        while parameter.kind == "string" and value in arguments.values():
            value = parameter.draw(rng)
        arguments[parameter.name] = value
    return Call(tool.name, arguments)


def fill(sentence: str, tool: Tool, call: Call, rng: random.Random) -> str:
    """``sentence`` (see Tool.requests) saying exactly the arguments of ``call``."""
    parameters = {parameter.name: parameter for parameter in tool.parameters}

    def optional_part(match: re.Match[str]) -> str:
        slot = _SLOT.search(match[1])
        return match[1] if slot and slot[1] in call.arguments else ""

    def slot(match: re.Match[str]) -> str:
        name, if_true, if_false = match.groups()
        value = call.arguments[name]
        if if_true is not None:
            return if_true if value else if_false
        return parameters[name].say(value, rng)

    return _SLOT.sub(slot, _OPTIONAL_PART.sub(optional_part, sentence))


def one_request(tool: Tool, rng: random.Random) -> tuple[Call, str]:
    """A call of ``tool`` and a request for it."""
    call = draw_call(tool, rng)
    return call, fill(rng.choice(tool.requests), tool, call, rng)


def two_requests(first: Tool, second: Tool, rng: random.Random) -> tuple[list[Call], str]:
    """Two different calls in order and one sentence that asks for both."""
    calls = [draw_call(first, rng, optional=False), draw_call(second, rng, optional=False)]
    while calls[0] == calls[1]:
        calls[1] = draw_call(second, rng, optional=False)
    words = [
        fill(tool.clause, tool, call, rng)
        for tool, call in zip((first, second), calls, strict=True)
    ]
    link = rng.choice((", then ", " and then "))
    sentence = f"{words[0]}{link}{words[1]}."
    return calls, sentence[0].upper() + sentence[1:]
