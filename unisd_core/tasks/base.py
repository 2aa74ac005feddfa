"""Task: rows with reference answers, and the reading and scoring of an answer."""

from __future__ import annotations

import dataclasses
import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from unisd_core.common.errors import UserError
from unisd_core.common.thoughts import after_thought
from unisd_core.common.user_text import WrittenFloat
from unisd_core.tasks.custom.lettering import lettered
from unisd_core.tasks.custom.metrics import METRICS
from unisd_core.tasks.custom.repeats import without_repeats
from unisd_core.tasks.data import Record
from unisd_core.tasks.row import AnswerScore, NegativeRequest, Row, drawn


class Task(ABC):
    """A family of rows that share prompts, answer format and metric.

    A class of one's own needs ``name``, ``rows`` and ``score``.
    """

    name: str
    test_splits: tuple[str, ...] = ("test",)
    """Names of the held-out sets, in the order they are reported."""
    max_completion_length: int = 256
    """Decoding limit that fits every reference."""
    trains: bool = True
    """Whether there is a training split; without one the set only exists to be tested on."""

    private: bool = False
    """Whether the authors ask that the rows are not written out, so that none ends up in training
    data."""
    address: str = ""
    """``module:Class`` where the task is not one of the project; see ``load_task``."""

    @staticmethod
    def from_rows(
        rows: Iterable[Row],
        metric: str = "exact_match",
        *,
        test: Iterable[Row] = (),
        name: str = "rows",
        max_completion_length: int = 256,
        contradictions: str = "refuse",
    ) -> Task:
        """A task over rows in memory, with the metrics and the checks of ``task=custom``.

        ``metric`` is one of ``custom.metric``: exact_match, choice, numeric, math, json_call or
        python_tests. Exact copies of a row are left out, and their number is logged. Raises
        UserError naming the row, as ``rows[3]`` or ``test[3]``, where one is malformed, contradicts
        another (unless ``contradictions`` is "keep"; see ``custom.contradictions``) or has a
        reference that the metric does not score as right.
        """
        task = CustomRows(metric, contradictions)
        task.name, task.max_completion_length = name, max_completion_length
        task.hold("train", "rows", list(rows))
        test = list(test)
        task.hold("test", "test", test)
        task.test_splits = ("test",) if test else ()
        return task

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

    def wrong_reference(self, row: Row, rng: random.Random) -> Row | None:
        """``row`` with ``reference`` and ``hint`` replaced by a plausible wrong answer in the same
        template (docs/method.md, "Wrong references"), or None where no rule applies. The result
        never scores as correct."""
        return None

    def negative_request(self, row: Row, rng: random.Random, number: int) -> NegativeRequest | None:
        """How a model is asked for a wrong answer to ``row``, or None where only
        ``wrong_reference`` makes one. ``number`` goes round robin over the kinds of error; ``rng``
        makes any further choice."""
        return None

    def secret(self, row: Row) -> str:
        """The text that must not occur in the row's contexts: the reference without its thought, or
        the part of it that gives the answer away under any other wrapping."""
        return after_thought(row.reference) or row.reference

    def demonstration(self, row: Row) -> str:
        """``row`` as a solved example for the context of another row."""
        return f"{row.prompt}\n{row.reference}"

    @abstractmethod
    def score(self, row: Row, completion: str) -> AnswerScore:
        """Read the answer from ``completion`` and compare it with that of ``row``; never raises on
        model text."""

    def score_many(self, rows: Sequence[Row], completions: Sequence[str]) -> list[AnswerScore]:
        """``score`` of each pair; tasks whose metric runs programs do so in parallel."""
        return [self.score(row, text) for row, text in zip(rows, completions, strict=True)]

    def place(self, row: Row) -> str:
        """What messages call a row: where it stands in the user's file or, where it stands in
        none, its uid."""
        return row.uid

    def check_references(self, rows: Sequence[Row]) -> None:
        """Asked before ``rows`` are trained, validated or tested on. Raises UserError naming the
        first whose reference cannot be right; tasks whose rows are not the user's own check
        nothing."""
        return

    def parseable(self, row: Row, completion: str) -> bool:
        """Whether an answer can be read from ``completion``, right or wrong."""
        return self.score(row, completion).extracted


LENDERS = 10_000
"""Custom rows that lend their answers to others: a rule may look at all of them for each row."""


class CustomRows(Task):
    """Custom rows: prompts and references as they stand, compared by a named metric."""

    metric_setting = "metric"
    """What messages call the choice of the metric."""
    keep_setting = "contradictions='keep'"
    """How messages say that contradicting rows are to be kept."""

    def __init__(self, metric: str, contradictions: str = "refuse") -> None:
        if metric not in METRICS:
            raise UserError(f"metric: unknown name {metric!r}; choose one of {', '.join(METRICS)}")
        if contradictions not in ("refuse", "keep"):
            raise UserError(f"contradictions: must be refuse or keep, found {contradictions!r}")
        self._metric_name, self._metric = metric, METRICS[metric]()
        self._keeps = contradictions == "keep"
        self._rows: dict[str, list[Row]] = {}
        self._places: dict[tuple[str, int], str] = {}
        """Where each row stands; see ``_key``."""
        self._sound: set[tuple[str, int]] = set()
        """Rows whose reference was scored already."""

    def rows(self, split: str) -> list[Row]:
        """Rows of "train" or "test" in the order given; see Task.rows."""
        self.check_split(split)
        return list(self._rows[split])

    def hold(self, split: str, place: str, rows: Sequence[Row]) -> None:
        """Make ``rows`` those of ``split``; see ``Task.from_rows``."""
        records = [
            Record({**vars(row), "choices": _listed(row.choices)}, index, f"{place}[{index}]")
            for index, row in enumerate(rows)
        ]
        # What the metric does not read stays as the caller gave it.
        read = [
            dataclasses.replace(
                found,
                tests=row.tests,
                retrieval_text=row.retrieval_text,
                question=found.question if row.question == row.prompt else row.question,
            )
            for row, found in zip(rows, map(self.row, records), strict=True)
        ]
        self._rows[split] = self._distinct(read, records)
        self.check_references(self._rows[split])

    def checked(self, records: Sequence[Record]) -> list[Row]:
        """The rows of ``records`` without copies, their references not yet scored. Raises UserError
        naming the place of one that is malformed, or all that contradict each other."""
        return self._distinct([self.row(record) for record in records], records)

    def _distinct(self, rows: Sequence[Row], records: Sequence[Record]) -> list[Row]:
        places = [record.place for record in records]
        kept, places = without_repeats(rows, places, self._keeps, self.keep_setting)
        self._places |= zip(map(_key, kept), places, strict=True)
        return kept

    def place(self, row: Row) -> str:
        """The file and line of ``row``."""
        return self._places.get(_key(row), row.uid)

    def check_references(self, rows: Sequence[Row]) -> None:
        """Raise UserError naming the place of the first of ``rows``, all of them from ``checked``,
        whose reference the metric does not score as right, or whose tests let any program pass;
        ``python_tests`` runs each program."""
        new = [row for row in rows if _key(row) not in self._sound]
        scores = self.score_many(new, [row.reference for row in new])
        for row, score in zip(new, scores, strict=True):
            if not score.correct:
                raise UserError(
                    f"{self._places[_key(row)]}: {self.metric_setting}={self._metric_name} does "
                    "not score the reference as right; fix the row or choose another metric"
                )
        self._metric.check_many(
            [row.details for row in new], [self._places[_key(row)] for row in new]
        )
        self._sound.update(map(_key, new))

    def row(self, record: Record) -> Row:
        """The row of one record; UserError naming its place where it is none."""
        if self._metric_name == "choice":
            record = lettered(record)
        elif self._metric_name in ("numeric", "math"):
            record = _whole(record)
        prompt, reference = record.text("prompt"), record.text_or_number("reference")
        answer = record.optional_text_or_number("answer")
        # Metrics read what the row says, not how the file holds it.
        record = record.plus(reference=reference, answer=answer or None)
        choices = record.fields.get("choices") if self._metric_name == "choice" else None
        return Row(
            prompt,
            reference,
            answer=answer,
            choices=tuple(choices or ()),
            hint=record.optional_text("hint"),
            category=record.optional_text_or_number("category"),
            uid=record.optional_text_or_number("uid"),
            question=self._metric.question(record),
            details=self._metric.details(record, answer or reference),
        )

    @cached_property
    def _lenders(self) -> Sequence[Row]:
        """Rows whose answers may be lent to others."""
        return drawn(self.rows("train"), LENDERS, "lenders/")

    def wrong_reference(self, row: Row, rng: random.Random) -> Row | None:
        """A wrong answer by the rule of the metric; see ``Metric.wrong``."""
        wrong = self._metric.wrong(row, self._lenders, rng)
        if wrong is None or self.score(row, wrong).correct:
            return None
        return dataclasses.replace(row, reference=wrong, hint="")

    def score(self, row: Row, completion: str) -> AnswerScore:
        """The metric's score."""
        return self._metric.score(row.details, completion)

    def score_many(self, rows: Sequence[Row], completions: Sequence[str]) -> list[AnswerScore]:
        """``score`` of each pair, in parallel where the metric runs programs."""
        return self._metric.score_many([row.details for row in rows], completions)

    def parseable(self, row: Row, completion: str) -> bool:
        """Whether an answer can be read from ``completion``, right or wrong."""
        return self._metric.parseable(row.details, completion)


def _key(row: Row) -> tuple[str, int]:
    """Uid and content: a training and a test row may share a uid and differ."""
    return row.uid, hash((row.prompt, row.reference, row.answer, repr(row.details)))


def _listed(choices: object) -> object:
    """``choices`` of a row as files hold them; a text or a mapping is no sequence of options."""
    if isinstance(choices, str | Mapping) or not isinstance(choices, Iterable):
        return choices
    return list(choices) or None


def _whole(record: Record) -> Record:
    """``record`` with a whole binary float as its integer: by value they are the same."""
    return record.plus(
        **{
            key: int(value)
            for key in ("reference", "answer")
            if isinstance(value := record.fields.get(key), float)
            and not isinstance(value, WrittenFloat)
            and value.is_integer()
        }
    )
