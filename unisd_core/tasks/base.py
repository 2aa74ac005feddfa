"""Task: rows with reference answers, and the reading and scoring of an answer."""

from __future__ import annotations

import dataclasses
import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from unisd_core.common.errors import UserError
from unisd_core.tasks.custom.metrics import METRICS
from unisd_core.tasks.data import Record
from unisd_core.tasks.row import AnswerScore, NegativeRequest, Row


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
    ) -> Task:
        """A task over rows in memory, with the metrics and the checks of ``task=custom``.

        ``metric`` is one of ``custom.metric``: exact_match, choice, numeric, json_call or
        python_tests. Raises UserError naming the row, as ``rows[3]`` or ``test[3]``, where one is
        malformed, occurs twice or has a reference that the metric does not score as right.
        """
        task = CustomRows(metric)
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
        """The text that must not occur in the row's contexts: the reference, or the part of it
        that gives the answer away under any other wrapping."""
        return row.reference

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

    def parseable(self, row: Row, completion: str) -> bool:
        """Whether an answer can be read from ``completion``, right or wrong."""
        return self.score(row, completion).extracted


class CustomRows(Task):
    """Custom rows: prompts and references as they stand, compared by a named metric."""

    metric_setting = "metric"
    """What messages call the choice of the metric."""

    def __init__(self, metric: str) -> None:
        if metric not in METRICS:
            raise UserError(f"metric: unknown name {metric!r}; choose one of {', '.join(METRICS)}")
        self._metric_name, self._metric = metric, METRICS[metric]()
        self._rows: dict[str, list[Row]] = {}
        self._places: dict[str, str] = {}
        """Where each row stands, by uid."""

    def rows(self, split: str) -> list[Row]:
        """Rows of "train" or "test" in the order given; see Task.rows."""
        self.check_split(split)
        return list(self._rows[split])

    def hold(self, split: str, place: str, rows: Sequence[Row]) -> None:
        """Make ``rows`` those of ``split``; see ``Task.from_rows``."""
        records = [
            Record({**vars(row), "choices": list(row.choices) or None}, index, f"{place}[{index}]")
            for index, row in enumerate(rows)
        ]
        self._rows[split] = [
            dataclasses.replace(
                row,
                details=checked.details,
                question=checked.question if row.question == row.prompt else row.question,
            )
            for row, checked in zip(rows, self.checked(records), strict=True)
        ]
        self.check_references(self._rows[split])

    def checked(self, records: Iterable[Record]) -> list[Row]:
        """The rows of ``records``, their references not yet scored. Raises UserError naming the
        place of one that is malformed or occurs twice."""
        rows: list[Row] = []
        places: dict[str, str] = {}
        for record in records:
            row = self.row(record)
            if row.uid in places:
                raise UserError(
                    f"{record.place}: the same uid, or prompt and reference, as "
                    f"{places[row.uid]}; remove one of the rows"
                )
            places[row.uid] = record.place
            rows.append(row)
        self._places |= places
        return rows

    def check_references(self, rows: Sequence[Row]) -> None:
        """Raise UserError naming the place of the first of ``rows``, all of them from ``checked``,
        whose reference the metric does not score as right; ``python_tests`` runs each program."""
        scores = self.score_many(rows, [row.reference for row in rows])
        for row, score in zip(rows, scores, strict=True):
            if not score.correct:
                raise UserError(
                    f"{self._places[row.uid]}: {self.metric_setting}={self._metric_name} does not "
                    "score the reference as right; fix the row or choose another metric"
                )

    def row(self, record: Record) -> Row:
        """The row of one record; UserError naming its place where it is none."""
        prompt, reference = record.text("prompt"), record.text("reference")
        answer = record.optional_text("answer")
        return Row(
            prompt,
            reference,
            answer=answer,
            hint=record.optional_text("hint"),
            category=record.optional_text("category"),
            uid=record.optional_text("uid"),
            question=self._metric.question(record),
            details=self._metric.details(record, answer or reference),
        )

    def wrong_reference(self, row: Row, rng: random.Random) -> Row | None:
        """A wrong answer by the rule of the metric; see ``Metric.wrong``."""
        wrong = self._metric.wrong(row, self.rows("train"), rng)
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
