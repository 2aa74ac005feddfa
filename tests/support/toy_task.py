"""A task without data files, for tests of what is built around tasks."""

from __future__ import annotations

import random

from unisd_core.tasks.base import AnswerScore, NegativeRequest, Row, Task


def toy_row(uid: str, prompt: str, gold: str, hint: str = "") -> Row:
    return Row(uid, prompt, gold, {"gold": gold}, retrieval_text=prompt, hint=hint)


class ToyTask(Task):
    """Answers are compared verbatim; rows whose gold starts with "only" have no wrong answer."""

    name = "toy"
    test_splits = ("test",)
    max_completion_length = 16

    def rows(self, split: str) -> list[Row]:
        raise NotImplementedError

    def wrong_reference(self, row: Row, rng: random.Random) -> Row | None:
        if row.gold.startswith("only"):
            return None
        wrong = f"wrong-{rng.randrange(1000)}"
        return Row(row.uid, row.prompt, wrong, row.answer, row.retrieval_text, row.hint)

    def negative_request(self, row: Row, rng: random.Random, number: int) -> NegativeRequest | None:
        if row.gold.startswith("only"):
            return None

        def read(text: str) -> Row | None:
            wrong = text.strip()
            if not wrong or self.score(row, wrong).correct:
                return None
            return Row(row.uid, row.prompt, wrong, row.answer, row.retrieval_text, row.hint)

        return NegativeRequest(f"toy/{number % 3}/1", f"Answer wrongly: {row.prompt}", read)

    def demonstration(self, row: Row) -> str:
        return f"Q: {row.prompt}\nA: {row.gold}"

    def score(self, row: Row, completion: str) -> AnswerScore:
        correct = completion == row.gold
        parts = {"length": float(len(completion) == len(row.gold))} if completion else {}
        return AnswerScore(correct, extracted=bool(completion), parts=parts)
