"""Metric: how the answers to custom rows are read and compared."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from unisd_core.tasks.data import Record
from unisd_core.tasks.row import AnswerScore, Row


class Metric(ABC):
    """Reads answers and compares them; ``Row.details`` is what it needs to know of a row."""

    @abstractmethod
    def details(self, record: Record, wanted: str) -> dict[str, Any]:
        """``Row.details`` for a record. ``wanted`` is its ``answer`` or, without one, its
        ``reference``. Raises UserError naming the row where it holds nothing to compare with."""

    def question(self, record: Record) -> str:
        """``Row.question`` for a record."""
        return record.text("prompt")

    @abstractmethod
    def score(self, details: Mapping[str, Any], completion: str) -> AnswerScore:
        """Compare what ``completion`` says with the row of ``details``; never raises on model
        text."""

    def score_many(
        self, details: Sequence[Mapping[str, Any]], completions: Sequence[str]
    ) -> list[AnswerScore]:
        """``score`` of each pair."""
        return [self.score(one, text) for one, text in zip(details, completions, strict=True)]

    def check_many(self, details: Sequence[Mapping[str, Any]], places: Sequence[str]) -> None:
        """Raise UserError naming the place of the first row whose answers cannot be told right
        from wrong, where it takes a program to see that."""
        return None

    def parseable(self, details: Mapping[str, Any], completion: str) -> bool:
        """Whether an answer can be read from ``completion``, right or wrong."""
        return self.score(details, completion).extracted

    @abstractmethod
    def wrong(self, row: Row, others: Sequence[Row], rng: random.Random) -> str | None:
        """A wrong answer in the template of ``row.reference``, or None; the caller scores it.
        ``others`` are the rows that may lend theirs."""
