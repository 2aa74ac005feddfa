"""A task without data files, for tests of what is built around tasks."""

from __future__ import annotations

import dataclasses
import random

from unisd_core.tasks.base import Task
from unisd_core.tasks.row import AnswerScore, NegativeRequest, Row


def toy_row(uid: str, prompt: str, reference: str, hint: str = "") -> Row:
    return Row(prompt, reference, uid=uid, hint=hint)


class ToyTask(Task):
    """Answers are compared verbatim; a reference that starts with "only" has no wrong answer."""

    name = "toy"
    test_splits = ("test",)
    max_completion_length = 16

    def rows(self, split: str) -> list[Row]:
        raise NotImplementedError

    def wrong_reference(self, row: Row, rng: random.Random) -> Row | None:
        if row.reference.startswith("only"):
            return None
        wrong = f"wrong-{rng.randrange(1000)}"
        return dataclasses.replace(row, reference=wrong)

    def negative_request(self, row: Row, rng: random.Random, number: int) -> NegativeRequest | None:
        if row.reference.startswith("only"):
            return None

        def read(text: str) -> Row | None:
            wrong = text.strip()
            if not wrong or self.score(row, wrong).correct:
                return None
            return dataclasses.replace(row, reference=wrong)

        return NegativeRequest(f"toy/{number % 3}/1", f"Answer wrongly: {row.prompt}", read)

    def demonstration(self, row: Row) -> str:
        return f"Q: {row.prompt}\nA: {row.reference}"

    def score(self, row: Row, completion: str) -> AnswerScore:
        correct = completion == row.reference
        parts = {"length": float(len(completion) == len(row.reference))} if completion else {}
        return AnswerScore(correct, extracted=bool(completion), parts=parts)
