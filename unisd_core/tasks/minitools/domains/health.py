"""Health: meals, sport, sleep and doctors."""

from __future__ import annotations

from unisd_core.tasks.minitools.parameters import (
    choice,
    date,
    flag,
    integer,
    number,
    optional,
    text,
)
from unisd_core.tasks.minitools.tools import Tool
from unisd_core.tasks.minitools.values import FOODS, PEOPLE

TOOLS = (
    Tool(
        "log_meal",
        (text("food", FOODS), integer("calories", 50, 900)),
        (
            'I ate "{food}" with {calories} calories.',
            'Log "{food}", {calories} calories.',
            'My meal was "{food}", {calories} calories.',
            'Record {calories} calories for "{food}".',
        ),
        clause='log "{food}" with {calories} calories',
    ),
    Tool(
        "log_run",
        (number("km", 2, 20), integer("minutes", 10, 120), optional(flag("race"))),
        (
            "I ran {km} km in {minutes} minutes[; it was {race|a race|no race}].",
            "Record a run of {km} km that took {minutes} minutes[, {race|a race|not a race}].",
            "Log {km} km of running, {minutes} minutes[, race: {race|yes|no}].",
            "My run: {km} km, {minutes} minutes[, {race|in a race|not in a race}].",
        ),
        clause="log a run of {km} km in {minutes} minutes",
    ),
    Tool(
        "log_sleep",
        (number("hours", 4, 11), optional(choice("quality", "good", "fair", "poor"))),
        (
            "I slept {hours} hours[ and it was {quality}].",
            "Record {hours} hours of sleep[, quality {quality}].",
            "Last night I got {hours} hours of sleep[, {quality} quality].",
            "Sleep: {hours} hours[, {quality}]. Save it.",
            "Put {hours} hours in my sleep diary[ as {quality}].",
            "Note that I was asleep for {hours} hours[, quality {quality}].",
        ),
    ),
    Tool(
        "log_weight",
        (number("kg", 45, 120), optional(date("day"))),
        (
            "My weight is {kg} kg[ on {day}].",
            "I weigh {kg} kg[, measured on {day}].",
            "Save a weight of {kg} kg[ for {day}].",
            "The scale showed {kg} kg[ on {day}].",
        ),
        clause="save a weight of {kg} kg",
    ),
    Tool(
        "book_doctor",
        (text("doctor", PEOPLE), date("day")),
        (
            "Book a visit to doctor {doctor} on {day}.",
            "I want to see doctor {doctor} on {day}.",
            "Make an appointment with doctor {doctor} for {day}.",
            "Can doctor {doctor} see me on {day}?",
        ),
    ),
    Tool(
        "log_swim",
        (integer("laps", 4, 80), choice("stroke", "crawl", "breast", "butterfly"),
         optional(number("km", 1, 5))),
        (
            "I swam {laps} laps of {stroke}[, {km} km in total].",
            "Record {laps} {stroke} laps[ over {km} km].",
            "Log swimming: {laps} laps, {stroke}[, {km} km].",
            "Today I did {laps} laps of {stroke}[, which is {km} km].",
        ),
        clause="log {laps} laps of {stroke}",
    ),
)  # fmt: skip
HELD_OUT = ("log_swim",)
