"""Money: payments, currencies and budgets."""

from __future__ import annotations

from unisd_core.tasks.minitools.parameters import (
    choice,
    flag,
    integer,
    number,
    optional,
    text,
)
from unisd_core.tasks.minitools.tools import Tool
from unisd_core.tasks.minitools.values import COMPANIES, CURRENCIES, PEOPLE

TOOLS = (
    Tool(
        "send_money",
        (text("person", PEOPLE), number("amount", 5, 90), optional(flag("urgent"))),
        (
            "Send {amount} dollars to {person}[, {urgent|urgent|not urgent}].",
            "Pay {person} {amount} dollars[, and mark it {urgent|urgent|not urgent}].",
            "I owe {person} {amount} dollars, transfer it[ as {urgent|urgent|not urgent}].",
            "Transfer {amount} dollars to {person}[; it is {urgent|urgent|not urgent}].",
        ),
        clause="send {amount} dollars to {person}",
    ),
    Tool(
        "convert_money",
        (number("amount", 5, 90), text("source", CURRENCIES), text("target", CURRENCIES)),
        (
            "Convert {amount} {source} to {target}.",
            "How much is {amount} {source} in {target}?",
            "I have {amount} {source}. What is that in {target}?",
            "Change {amount} {source} into {target}.",
        ),
    ),
    Tool(
        "pay_bill",
        (text("company", COMPANIES), number("amount", 20, 99)),
        (
            "Pay {amount} dollars to {company}.",
            "The bill from {company} is {amount} dollars, pay it.",
            "Settle my {company} bill of {amount} dollars.",
            "{company} wants {amount} dollars. Please pay.",
        ),
        clause="pay {company} {amount} dollars",
    ),
    Tool(
        "log_expense",
        (choice("category", "food", "travel", "rent", "fun"), integer("amount", 2, 500),
         optional(flag("shared"))),
        (
            "I spent {amount} dollars on {category}[, {shared|shared|not shared}].",
            "Record {amount} dollars for {category}[, {shared|shared|not shared}].",
            "Note an expense of {amount} dollars under {category}[, {shared|shared|not shared}].",
            "Add {amount} dollars to my {category} costs[ as {shared|shared|not shared}].",
        ),
        clause="record {amount} dollars for {category}",
    ),
    Tool(
        "set_budget",
        (choice("category", "food", "travel", "rent", "fun"), integer("limit", 50, 900)),
        (
            "Limit my {category} spending to {limit} dollars.",
            "Set the {category} budget to {limit}.",
            "I do not want to spend more than {limit} dollars on {category}.",
            "My budget for {category} is {limit} dollars.",
        ),
        clause="set the {category} budget to {limit}",
    ),
    Tool(
        "freeze_card",
        (choice("card", "debit", "credit", "travel"), flag("frozen"),
         optional(integer("hours", 2, 72))),
        (
            "Please {frozen|freeze|unfreeze} my {card} card[ for {hours} hours].",
            "My {card} card must be {frozen|frozen|unfrozen}[ for {hours} hours].",
            "Can you {frozen|freeze|unfreeze} the {card} card[ for {hours} hours]?",
            "I want the {card} card {frozen|frozen|unfrozen}[ for the next {hours} hours].",
        ),
        clause="{frozen|freeze|unfreeze} my {card} card",
    ),
)  # fmt: skip
HELD_OUT = ("freeze_card",)
