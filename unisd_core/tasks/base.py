"""Task: rows with reference answers, and the reading and scoring of an answer."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unisd_core.common.errors import UserError


@dataclass(frozen=True)
class Row:
    """One question with its reference answer.

    ``uid`` is stable across runs and machines. ``prompt`` is the student's whole
    user turn. ``gold`` is what the teacher is shown, in exactly the form the student is
    asked to answer in. ``hint`` is an optional short explanation of the
    reference. ``answer`` holds whatever the task's ``score`` needs.
    """

    uid: str
    prompt: str
    gold: str
    answer: Mapping[str, Any]
    retrieval_text: str
    hint: str = ""
    category: str = ""


@dataclass(frozen=True)
class AnswerScore:
    """Outcome of one completion: ``correct`` (the task's accuracy), ``extracted``
    (an answer could be read at all) and finer parts in [0, 1] by name."""

    correct: bool
    extracted: bool
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class NegativeRequest:
    """A wish for one wrong answer: ``prompt`` is the user turn that asks a model for an error of
    the given ``kind`` ("<task>/<error>/<version>"; the version changes with the prompt).

    ``read`` turns the model's text into the row with ``gold`` and ``hint`` replaced, in the
    template of the reference; None for a text that is empty, unreadable or right.
    """

    kind: str
    prompt: str
    read: Callable[[str], Row | None]


class Task(ABC):
    """A family of rows that share prompts, answer format and metric."""

    name: str
    test_splits: tuple[str, ...]
    """Names of the held-out sets, in the order they are reported."""
    max_completion_length: int
    """Decoding limit that fits every gold answer."""
    trains: bool = True
    """Whether there is a training split; without one the set only exists to be tested on."""

    private: bool = False
    """Whether the authors ask that the rows are not written out, so that none ends up in training
    data."""

    def check_split(self, split: str) -> None:
        """Raise UserError for a split the task does not have."""
        if split == "train" and not self.trains:
            raise UserError(
                f"task {self.name}: has no training rows, it is only to be tested on; "
                "train on another task"
            )
        names = (*(("train",) if self.trains else ()), *self.test_splits)
        if split not in names:
            raise UserError(
                f"task {self.name}: no split {split!r}; choose one of {', '.join(names)}"
            )

    @abstractmethod
    def rows(self, split: str) -> list[Row]:
        """Rows of ``"train"`` or of one of ``test_splits``, in a fixed order.

        Raises UserError naming file and line for malformed data, and for "train" of a set that
        only exists to be tested on.
        """

    @abstractmethod
    def wrong_reference(self, row: Row, rng: random.Random) -> Row | None:
        """``row`` with ``gold`` and ``hint`` replaced by a plausible wrong answer in the same
        template (docs/method.md, "Wrong references"), or None where no rule applies. The result
        never scores as correct."""

    def negative_request(self, row: Row, rng: random.Random, number: int) -> NegativeRequest | None:
        """How a model is asked for a wrong answer to ``row``, or None where only
        ``wrong_reference`` makes one. ``number`` goes round robin over the kinds of error; ``rng``
        makes any further choice."""
        return None

    def secret(self, row: Row) -> str:
        """The text that must not occur in the row's contexts: the reference, or the part of it
        that gives the answer away under any other wrapping."""
        return row.gold

    @abstractmethod
    def demonstration(self, row: Row) -> str:
        """``row`` as a solved example for the context of another row."""

    @abstractmethod
    def score(self, row: Row, completion: str) -> AnswerScore:
        """Read the answer from ``completion`` and compare it with ``row.answer``; never raises on
        model text."""

    def score_many(self, rows: Sequence[Row], completions: Sequence[str]) -> list[AnswerScore]:
        """``score`` of each pair; tasks whose metric runs programs do so in parallel."""
        return [self.score(row, text) for row, text in zip(rows, completions, strict=True)]

    def readable(self, row: Row, completion: str) -> bool:
        """Whether an answer can be read from ``completion``, right or wrong."""
        return self.score(row, completion).extracted
