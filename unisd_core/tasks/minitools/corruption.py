"""Wrong calls in the right template, for the negative view (docs/method.md, "Wrong references")."""

from __future__ import annotations

import random
from collections.abc import Sequence

from unisd_core.tasks.minitools.catalogue import TOOLS, siblings
from unisd_core.tasks.reading.call import Call
from unisd_core.tasks.reading.call_comparison import same_value

CORRUPTIONS = ("tool", "value", "drop", "extra")
_EXTRA_NAMES = ("verbose", "retry", "priority")


def corrupt(calls: Sequence[Call], shown: Sequence[str], rng: random.Random) -> list[Call]:
    """``calls`` with one of them made wrong: another tool's name (one that is ``shown``, where
    there is one), another value of one argument, an argument left out, or one too many."""
    wrong = list(calls)
    index = rng.randrange(len(wrong))
    call = wrong[index]
    match rng.choice(CORRUPTIONS):
        case "tool":
            wrong[index] = Call(_other_tool(call.action, shown, rng), call.arguments)
        case "value":
            wrong[index] = Call(call.action, _changed(call, rng))
        case "drop":
            dropped = rng.choice(list(call.arguments))
            kept = {name: value for name, value in call.arguments.items() if name != dropped}
            wrong[index] = Call(call.action, kept)
        case "extra":
            wrong[index] = Call(call.action, {**call.arguments, **_extra(call, rng)})
    return wrong


def _other_tool(action: str, shown: Sequence[str], rng: random.Random) -> str:
    names = [name for name in shown if name != action]
    return rng.choice(names or [tool.name for tool in siblings(action)])


def _changed(call: Call, rng: random.Random) -> dict[str, object]:
    parameters = {parameter.name: parameter for parameter in TOOLS[call.action].parameters}
    name = rng.choice(list(call.arguments))
    value = call.arguments[name]
    while same_value(value, call.arguments[name]):
        value = parameters[name].draw(rng)
    return {**call.arguments, name: value}


def _extra(call: Call, rng: random.Random) -> dict[str, object]:
    """A documented argument nobody asked for, else an invented switch."""
    unused = [p for p in TOOLS[call.action].parameters if p.name not in call.arguments]
    if unused:
        parameter = rng.choice(unused)
        return {parameter.name: parameter.draw(rng)}
    return {rng.choice(_EXTRA_NAMES): True}
