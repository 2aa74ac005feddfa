"""Travel: trains, flights, hotels and cars."""

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
from unisd_core.tasks.minitools.values import CITIES, CODES

TOOLS = (
    Tool(
        "find_train",
        (text("city", CITIES), date("day")),
        (
            "Find a train to {city} on {day}.",
            "Which trains go to {city} on {day}?",
            "I want to take the train to {city} on {day}.",
            "Show me trains for {day} to {city}.",
        ),
    ),
    Tool(
        "book_hotel",
        (text("city", CITIES), integer("nights", 2, 14), optional(integer("stars", 2, 5))),
        (
            "Book a hotel in {city} for {nights} nights[ with {stars} stars].",
            "I need a room in {city}, {nights} nights[, {stars} stars].",
            "Reserve {nights} nights at a[ {stars} star] hotel in {city}.",
            "We stay {nights} nights in {city}. Get us a hotel[ of {stars} stars].",
        ),
        clause="book a hotel in {city} for {nights} nights",
    ),
    Tool(
        "rent_car",
        (text("city", CITIES), integer("days", 2, 21), choice("size", "small", "medium", "large")),
        (
            "Rent a {size} car in {city} for {days} days.",
            "I need a {size} car for {days} days in {city}.",
            "For {days} days in {city} we want a {size} car.",
            "Get me a car in {city}: {size}, {days} days.",
        ),
    ),
    Tool(
        "flight_status",
        (text("flight", CODES), optional(flag("alerts"))),
        (
            "Is flight {flight} on time?[ Turn alerts {alerts|on|off}.]",
            "Check the status of flight {flight}[ and turn {alerts|on|off} alerts].",
            "I am waiting for flight {flight}, where is it?[ Alerts {alerts|on|off}.]",
            "Show flight {flight}[ with alerts {alerts|on|off}].",
        ),
        clause="check flight {flight}",
    ),
    Tool(
        "add_bag",
        (text("booking", CODES), number("weight", 5, 30)),
        (
            "Add a bag of {weight} kg to booking {booking}.",
            "My booking is {booking} and I bring a {weight} kg bag.",
            "Put {weight} kg of luggage on booking {booking}.",
            "For booking {booking}, register a bag of {weight} kg.",
        ),
        clause="add a {weight} kg bag to booking {booking}",
    ),
    Tool(
        "choose_seat",
        (text("booking", CODES), choice("seat", "window", "aisle", "middle"),
         optional(integer("row", 2, 40))),
        (
            "I want a {seat} seat on booking {booking}[ in row {row}].",
            "For booking {booking}, choose a {seat} seat[, row {row}].",
            "Give booking {booking} a seat at the {seat}[ of row {row}].",
            "Pick the {seat} seat[ in row {row}] for booking {booking}.",
        ),
        clause="choose a {seat} seat for booking {booking}",
    ),
)  # fmt: skip
HELD_OUT = ("choose_seat",)
