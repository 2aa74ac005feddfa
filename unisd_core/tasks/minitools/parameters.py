"""Kinds of arguments of a tool: their documentation, their random values, their words in a
request."""

from __future__ import annotations

import datetime
import random
from dataclasses import dataclass, replace
from typing import Literal

Value = str | int | float | bool
Kind = Literal["string", "integer", "number", "boolean", "enum", "date", "time"]

NATURAL_DATE_SHARE = 0.2
"""Share of dates a request writes as "March 5, 2026" instead of 2026-03-05."""

_FIRST_DAY = datetime.date(2026, 1, 1)
_DAYS = 730


@dataclass(frozen=True)
class Parameter:
    """One argument. ``values`` holds the drawable strings (string, enum), ``low`` and ``high``
    the inclusive bounds of an integer or number."""

    name: str
    kind: Kind
    values: tuple[str, ...] = ()
    low: int = 0
    high: int = 0
    optional: bool = False

    @property
    def documentation(self) -> str:
        """``name: type`` as the prompt shows it, with "optional" in front where it applies."""
        shown = {
            "enum": "|".join(self.values),
            "date": "YYYY-MM-DD",
            "time": "HH:MM",
        }.get(self.kind, self.kind)
        return f"{'optional ' if self.optional else ''}{self.name}: {shown}"

    def draw(self, rng: random.Random) -> Value:
        """A value of the argument as it stands in the call; a number is never whole, so that its
        type shows in the request."""
        match self.kind:
            case "string" | "enum":
                return rng.choice(self.values)
            case "integer":
                return rng.randint(self.low, self.high)
            case "number":
                tenths = rng.randint(self.low, self.high - 1) * 10 + rng.randint(1, 9)
                return tenths / 10
            case "boolean":
                return rng.random() < 0.5
            case "date":
                return (_FIRST_DAY + datetime.timedelta(days=rng.randrange(_DAYS))).isoformat()
            case "time":
                return f"{rng.randint(6, 22):02d}:{rng.randrange(0, 60, 5):02d}"

    def say(self, value: Value, rng: random.Random) -> str:
        """``value`` in a request: verbatim, save for a share of the dates."""
        if self.kind == "date" and rng.random() < NATURAL_DATE_SHARE:
            day = datetime.date.fromisoformat(str(value))
            return f"{day:%B} {day.day}, {day.year}"
        return str(value)


def text(name: str, values: tuple[str, ...]) -> Parameter:
    """A string copied from the request."""
    return Parameter(name, "string", values)


def integer(name: str, low: int, high: int) -> Parameter:
    """A whole number in [low, high]."""
    return Parameter(name, "integer", low=low, high=high)


def number(name: str, low: int, high: int) -> Parameter:
    """A number with one decimal between low and high."""
    return Parameter(name, "number", low=low, high=high)


def choice(name: str, *values: str) -> Parameter:
    """One of a few documented words."""
    return Parameter(name, "enum", values)


def date(name: str) -> Parameter:
    """A calendar day, ISO in the call."""
    return Parameter(name, "date")


def time(name: str) -> Parameter:
    """A time of day, HH:MM."""
    return Parameter(name, "time")


def flag(name: str) -> Parameter:
    """true or false."""
    return Parameter(name, "boolean")


def optional(parameter: Parameter) -> Parameter:
    """``parameter``, present in the call only when the request asks for it."""
    return replace(parameter, optional=True)
