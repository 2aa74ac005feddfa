"""Wrong calls made by rule from the right ones (docs/method.md, "Wrong references")."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any

from unisd_core.tasks.reading.call import Call
from unisd_core.tasks.toolalpaca.documentation import Tools, options_of, type_of
from unisd_core.tasks.toolalpaca.golden import is_empty, is_open, same_text

RULES = ("action", "value", "drop", "extra", "call")
_SWITCHES = ("verbose", "retry", "priority")
_WORD = re.compile(r"[^\W\d_]{4,}")


def corrupt(
    rule: str, calls: Sequence[Call], tools: Tools, question: str, rng: random.Random
) -> list[Call] | None:
    """``calls`` made wrong by one of ``RULES``: another documented tool, another value of an
    argument, an argument left out, an argument too many, or a call too many. New values come
    from the documentation and from the words of ``question``. None where the rule finds nothing
    to change."""
    wrong = list(calls)
    if rule == "call":
        return [*wrong, _further_call(rng.choice(wrong), tools, rng)]
    if rule in ("value", "drop"):
        places = [
            (index, name)
            for index, call in enumerate(wrong)
            for name, value in call.arguments.items()
            if not is_empty(value) and not (rule == "value" and is_open(value))
        ]
        if not places:
            return None
        index, name = rng.choice(places)
        call = wrong[index]
        arguments = dict(call.arguments)
        if rule == "drop":
            del arguments[name]
        else:
            description = tools.get(call.action, {}).get(name, "")
            arguments[name] = _other_value(arguments[name], description, question, rng)
        wrong[index] = Call(call.action, arguments)
        return wrong
    index = rng.randrange(len(wrong))
    call = wrong[index]
    if rule == "extra":
        wrong[index] = Call(call.action, {**call.arguments, **_extra(call, tools, question, rng)})
        return wrong
    others = [name for name in tools if name != call.action]
    if not others:
        return None
    wrong[index] = Call(rng.choice(others), call.arguments)
    return wrong


def _further_call(call: Call, tools: Tools, rng: random.Random) -> Call:
    """A call of another tool with those arguments of ``call`` that it takes, or ``call`` again."""
    others = [name for name in tools if name != call.action]
    if not others:
        return call
    name = rng.choice(others)
    return Call(name, {k: v for k, v in call.arguments.items() if k in tools[name]})


def _extra(call: Call, tools: Tools, question: str, rng: random.Random) -> dict[str, Any]:
    """A documented argument nobody asked for, else an invented switch."""
    unused = {
        name: description
        for name, description in tools.get(call.action, {}).items()
        if is_empty(call.arguments.get(name))
    }
    if not unused:
        return {rng.choice([s for s in _SWITCHES if s not in call.arguments] or ["force"]): True}
    name = rng.choice(list(unused))
    match type_of(unused[name]):
        case "integer" | "number" | "float":
            return {name: rng.randint(1, 20)}
        case "boolean":
            return {name: True}
    return {name: rng.choice(options_of(unused[name]) or _words(question) or ["default"])}


def _other_value(value: Any, description: str, question: str, rng: random.Random) -> Any:
    match value:
        case bool():
            return not value
        case int() | float():
            return value + rng.choice((1, 2, 10))
        case list():
            return value[:-1] if len(value) > 1 else [*value, "other"]
        case dict():
            name = rng.choice(list(value) or ["name"])
            return {**value, name: _other_value(value.get(name, ""), "", question, rng)}
    digits = [place for place, letter in enumerate(value) if letter in "0123456789"]
    options = [o for o in options_of(description) if not same_text(o, value)]
    if digits and not options:
        place = rng.choice(digits)
        return f"{value[:place]}{(int(value[place]) + rng.randint(1, 9)) % 10}{value[place + 1 :]}"
    return rng.choice(options or _words(question, without=value) or [f"other {value}"])


def _words(question: str, without: str = "") -> list[str]:
    """Words of the question that ``without`` does not hold."""
    return [word for word in _WORD.findall(question) if word.casefold() not in without.casefold()]
