"""Calendar: events, reminders and rooms."""

from __future__ import annotations

from unisd_core.tasks.minitools.parameters import date, flag, integer, optional, text, time
from unisd_core.tasks.minitools.tools import Tool
from unisd_core.tasks.minitools.values import CHORES, EVENTS, PEOPLE, ROOMS

TOOLS = (
    Tool(
        "add_event",
        (text("title", EVENTS), date("day")),
        (
            'Put "{title}" in my calendar on {day}.',
            'Add an event called "{title}" on {day}.',
            'On {day} I have "{title}". Please note it.',
            'Schedule "{title}" for {day}.',
        ),
    ),
    Tool(
        "cancel_event",
        (text("title", EVENTS), optional(flag("notify"))),
        (
            'Cancel "{title}"[ and {notify|tell|do not tell} the guests].',
            'Remove "{title}" from my calendar[, {notify|with|without} a note to the guests].',
            '"{title}" will not take place, so delete it[ and {notify|do|do not} notify people].',
            'Please drop "{title}"[; guests {notify|should|should not} be notified].',
        ),
        clause='cancel "{title}"',
    ),
    Tool(
        "set_reminder",
        (text("text", CHORES), time("time")),
        (
            'Remind me to "{text}" at {time}.',
            'At {time}, remind me: "{text}".',
            'Set a reminder for {time} that says "{text}".',
            'I must not forget to "{text}" at {time}.',
        ),
    ),
    Tool(
        "find_slot",
        (text("person", PEOPLE), integer("minutes", 15, 90)),
        (
            "When is {person} free for {minutes} minutes?",
            "Find {minutes} minutes with {person}.",
            "I need to talk to {person} for {minutes} minutes. When can we?",
            "Look for a free {minutes} minute slot with {person}.",
        ),
        clause="find {minutes} minutes with {person}",
    ),
    Tool(
        "invite_guest",
        (text("person", PEOPLE), text("event", EVENTS)),
        (
            'Invite {person} to "{event}".',
            'Please add {person} to the guest list of "{event}".',
            '{person} should come to "{event}", send an invitation.',
            'Ask {person} to join "{event}".',
        ),
        clause='invite {person} to "{event}"',
    ),
    Tool(
        "book_room",
        (text("room", ROOMS), time("start"), optional(integer("seats", 2, 30))),
        (
            "Book the {room} from {start}[ for {seats} people].",
            "Reserve the {room} starting at {start}[, {seats} seats].",
            "I need the {room} at {start}[ with {seats} seats].",
            "Can I have the {room} from {start}[ for a group of {seats}]?",
        ),
        clause="book the {room} from {start}",
    ),
)  # fmt: skip
HELD_OUT = ("book_room",)
