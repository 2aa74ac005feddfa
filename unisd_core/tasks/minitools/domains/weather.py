"""Weather: forecasts, air and warnings."""

from __future__ import annotations

from unisd_core.tasks.minitools.parameters import choice, date, flag, integer, optional, text
from unisd_core.tasks.minitools.tools import Tool
from unisd_core.tasks.minitools.values import CITIES

TOOLS = (
    Tool(
        "get_forecast",
        (text("city", CITIES), integer("days", 2, 14),
         optional(choice("unit", "celsius", "fahrenheit"))),
        (
            "What will the weather in {city} be like for the next {days} days[, in {unit}]?",
            "Give me a {days} day forecast for {city}[ in {unit}].",
            "I will spend {days} days in {city}. What weather is coming[, in {unit}]?",
            "Weather in {city}, next {days} days[, {unit}], please.",
        ),
        clause="get the forecast for {city} for {days} days",
    ),
    Tool(
        "check_air",
        (text("city", CITIES), optional(choice("pollutant", "ozone", "dust", "smoke"))),
        (
            "How clean is the air in {city} today?[ Only {pollutant}, please.]",
            "Check the air quality in {city}[, only for {pollutant}].",
            "Is the air in {city} good enough to go running?[ Look at {pollutant}.]",
            "I need the air report for {city}[, {pollutant} only].",
        ),
        clause="check the air in {city}",
    ),
    Tool(
        "rain_chance",
        (text("city", CITIES), date("day")),
        (
            "Will it rain in {city} on {day}?",
            "How likely is rain in {city} on {day}?",
            "Do I need an umbrella in {city} on {day}?",
            "Tell me the chance of rain on {day} in {city}.",
        ),
    ),
    Tool(
        "get_wind",
        (text("city", CITIES), choice("unit", "knots", "kmh", "mph")),
        (
            "How strong is the wind in {city}, in {unit}?",
            "Show the wind speed in {city} in {unit}.",
            "Is it windy in {city}? Answer in {unit}.",
            "I am sailing near {city} and want the wind in {unit}.",
        ),
        clause="show the wind in {city} in {unit}",
    ),
    Tool(
        "storm_alert",
        (text("city", CITIES), flag("active")),
        (
            "Turn {active|on|off} storm alerts for {city}.",
            "Please {active|start|stop} warning me about storms in {city}.",
            "I {active|want|no longer want} storm warnings for {city}.",
            "Switch the {city} storm alert {active|on|off}.",
        ),
        clause="turn {active|on|off} storm alerts for {city}",
    ),
    Tool(
        "pollen_level",
        (text("city", CITIES), choice("plant", "grass", "birch", "ragweed"),
         optional(integer("days", 2, 9))),
        (
            "How much {plant} pollen is there in {city}[ over the next {days} days]?",
            "I am allergic to {plant}. Check pollen in {city}[ for {days} days].",
            "Show {plant} pollen for {city}[, {days} days ahead].",
            "Is {plant} pollen high in {city}[ for the coming {days} days]?",
        ),
        clause="check {plant} pollen in {city}",
    ),
)  # fmt: skip
HELD_OUT = ("pollen_level",)
