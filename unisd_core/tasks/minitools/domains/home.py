"""Home: lights, heat, doors and helpers."""

from __future__ import annotations

from unisd_core.tasks.minitools.parameters import choice, flag, integer, number, optional, text
from unisd_core.tasks.minitools.tools import Tool
from unisd_core.tasks.minitools.values import CHORES, DOORS, ROOMS

TOOLS = (
    Tool(
        "set_lamp",
        (text("room", ROOMS), flag("on"), optional(integer("minutes", 5, 90))),
        (
            "Turn the {room} lamp {on|on|off}[ for {minutes} minutes].",
            "Switch {on|on|off} the light in the {room}[ for {minutes} minutes].",
            "I want the {room} lamp {on|on|off}[ for {minutes} minutes].",
            "Lamp in the {room}: {on|on|off}[, {minutes} minutes], please.",
        ),
        clause="turn the {room} lamp {on|on|off}",
    ),
    Tool(
        "set_heat",
        (text("room", ROOMS), number("degrees", 15, 26),
         optional(choice("mode", "eco", "comfort"))),
        (
            "Heat the {room} to {degrees} degrees[ in {mode} mode].",
            "Set the {room} to {degrees} degrees[, {mode} mode].",
            "I would like {degrees} degrees in the {room}[ with {mode} mode].",
            "Make it {degrees} degrees in the {room}[, using {mode} mode].",
        ),
        clause="heat the {room} to {degrees} degrees",
    ),
    Tool(
        "set_lock",
        (text("door", DOORS), flag("locked"), optional(integer("minutes", 5, 60))),
        (
            "Please {locked|lock|unlock} the {door} door[ for {minutes} minutes].",
            "Can you {locked|lock|unlock} the {door} door[ for {minutes} minutes]?",
            "I want the {door} door {locked|locked|unlocked}[ for {minutes} minutes].",
            "Leave the {door} door {locked|locked|unlocked}[ during the next {minutes} minutes].",
        ),
        clause="{locked|lock|unlock} the {door} door",
    ),
    Tool(
        "start_vacuum",
        (text("room", ROOMS), integer("minutes", 5, 60), optional(flag("quiet"))),
        (
            "Vacuum the {room} for {minutes} minutes[, quiet mode {quiet|on|off}].",
            "Clean the {room} for {minutes} minutes[ with quiet mode {quiet|on|off}].",
            "The {room} floor is dirty: {minutes} minutes of vacuuming[, {quiet|quiet|not quiet}].",
            "Send the vacuum to the {room} for {minutes} minutes[, quiet {quiet|on|off}].",
        ),
        clause="vacuum the {room} for {minutes} minutes",
    ),
    Tool(
        "start_timer",
        (text("label", CHORES), integer("minutes", 2, 90)),
        (
            'Start a {minutes} minute timer named "{label}".',
            'Set a timer for {minutes} minutes, label "{label}".',
            'In {minutes} minutes my timer "{label}" should ring.',
            'Timer "{label}", {minutes} minutes, please.',
        ),
        clause='start a {minutes} minute timer named "{label}"',
    ),
    Tool(
        "set_blinds",
        (text("room", ROOMS), integer("percent", 5, 95), optional(choice("speed", "slow", "fast"))),
        (
            "Close the {room} blinds to {percent} percent[ at {speed} speed].",
            "Set the blinds in the {room} to {percent} percent[, {speed}].",
            "I want {percent} percent on the {room} blinds[, moving {speed}].",
            "Move the {room} blinds to {percent} percent[, speed {speed}].",
        ),
        clause="set the {room} blinds to {percent} percent",
    ),
)  # fmt: skip
HELD_OUT = ("set_blinds",)
