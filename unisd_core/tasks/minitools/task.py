"""The minitools task: rows from a seed, strict scoring of the calls."""

from __future__ import annotations

import dataclasses
import random

from unisd_core.tasks.base import Task
from unisd_core.tasks.minitools.calls import read_calls
from unisd_core.tasks.minitools.corruption import corrupt
from unisd_core.tasks.minitools.generation import describe, generate
from unisd_core.tasks.minitools.mistakes import MISTAKES, mistake_prompt, read_wrong_calls
from unisd_core.tasks.reading.call import Call
from unisd_core.tasks.reading.call_comparison import score_calls
from unisd_core.tasks.reading.tool_calls import write_calls
from unisd_core.tasks.row import AnswerScore, NegativeRequest, Row


class MiniTools(Task):
    """2,000 training rows, 300 with known tools ("seen"), 200 with tools training never shows
    ("unseen"). A row is right when every call and argument is, and nothing else is said."""

    name = "minitools"
    test_splits = ("seen", "unseen")
    max_completion_length = 64

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._splits: dict[str, list[Row]] = {}

    def rows(self, split: str) -> list[Row]:
        """Rows of "train", "seen" or "unseen", generated once; UserError for another name."""
        self.check_split(split)
        if not self._splits:
            self._splits = generate(self._seed)
        return list(self._splits[split])

    def wrong_reference(self, row: Row, rng: random.Random) -> Row:
        """``row`` with one call made wrong and the sentence about it to match; see ``corrupt``."""
        calls = corrupt(_gold_calls(row), row.details["tools"], rng)
        return dataclasses.replace(row, reference=write_calls(calls), hint=describe(calls))

    def negative_request(self, row: Row, rng: random.Random, number: int) -> NegativeRequest:
        """One of the kinds of ``MISTAKES`` in turn; what comes back is rewritten in the
        template of the reference."""
        kind = list(MISTAKES)[number % len(MISTAKES)]

        def read(text: str) -> Row | None:
            calls = read_wrong_calls(text, row.details["tools"], len(row.details["calls"]))
            if not calls:
                return None
            found = dataclasses.replace(row, reference=write_calls(calls), hint=describe(calls))
            return None if self.score(row, found.reference).correct else found

        return NegativeRequest(
            f"minitools/{kind}/1", mistake_prompt(kind, row.prompt, row.reference), read
        )

    def demonstration(self, row: Row) -> str:
        """The request and its calls, without documentation: the form is what it shows."""
        return f"Request: {row.details['request']}\n{row.reference}"

    def score(self, row: Row, completion: str) -> AnswerScore:
        """``correct`` asks for exactly the gold calls and no other text; ``parts["action"]`` is 1
        for the right tools in order, ``parts["arguments"]`` the share of right arguments."""
        return score_calls(read_calls(completion), _gold_calls(row))


def _gold_calls(row: Row) -> list[Call]:
    return [Call(call["action"], call["arguments"]) for call in row.details["calls"]]
