"""Shopping: carts, orders and prices."""

from __future__ import annotations

from unisd_core.tasks.minitools.parameters import choice, flag, integer, number, optional, text
from unisd_core.tasks.minitools.tools import Tool
from unisd_core.tasks.minitools.values import CITIES, CODES, PRODUCTS

TOOLS = (
    Tool(
        "search_shop",
        (text("query", PRODUCTS), optional(integer("max_price", 5, 200))),
        (
            'Search the shop for "{query}"[ under {max_price} dollars].',
            'Show me offers for "{query}"[ up to {max_price} dollars].',
            'Do you sell "{query}"[ for at most {max_price} dollars]?',
            'I am looking for "{query}"[, at most {max_price} dollars].',
        ),
        clause='search for "{query}"',
    ),
    Tool(
        "add_to_cart",
        (text("item", PRODUCTS), integer("count", 2, 12)),
        (
            'Put {count} of "{item}" in my cart.',
            'Add {count} times "{item}" to the cart.',
            'I will take {count} of "{item}", add them to my cart.',
            'My cart needs {count} of "{item}".',
        ),
        clause='put {count} of "{item}" in the cart',
    ),
    Tool(
        "track_order",
        (text("order", CODES), optional(flag("map"))),
        (
            "Where is order {order}?[ Map {map|on|off}.]",
            "Track order {order}[ {map|with|without} a map].",
            "When will order {order} arrive?[ Turn the map {map|on|off}.]",
            "Show me the state of order {order}[, {map|with|without} map].",
        ),
        clause="track order {order}",
    ),
    Tool(
        "return_order",
        (text("order", CODES), choice("reason", "broken", "late", "wrong", "unwanted")),
        (
            "Return order {order}, reason: {reason}.",
            "I send back order {order} because it is {reason}.",
            "Order {order} was {reason}. Start a return.",
            "Please take back order {order} as {reason}.",
        ),
        clause="return order {order} as {reason}",
    ),
    Tool(
        "price_alert",
        (text("item", PRODUCTS), number("price", 5, 90)),
        (
            'Tell me when "{item}" costs less than {price} dollars.',
            'Watch "{item}" and alert me below {price} dollars.',
            'Alert me if the price of "{item}" falls under {price}.',
            'I will buy "{item}" for {price} dollars, warn me at that price.',
        ),
        clause='alert me when "{item}" costs {price}',
    ),
    Tool(
        "check_stock",
        (text("item", PRODUCTS), text("store", CITIES), optional(integer("count", 2, 20))),
        (
            'Does the {store} store have "{item}"[, at least {count}]?',
            'Check if "{item}" is in stock in {store}[, {count} pieces].',
            'Can I pick up[ {count} of] "{item}" at the {store} store?',
            'Is "{item}" available in {store}?[ I need {count}.]',
        ),
        clause='check for "{item}" in {store}',
    ),
)  # fmt: skip
HELD_OUT = ("check_stock",)
