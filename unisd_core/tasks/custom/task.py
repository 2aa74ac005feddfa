"""The task of rows of one's own: what is read from a file, and what is set aside to test on."""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from unisd_core.common.errors import UserError
from unisd_core.config.data import CustomConfig
from unisd_core.tasks.base import AnswerScore, Row, Task
from unisd_core.tasks.custom.files import read_file, with_reference
from unisd_core.tasks.custom.json_call import JsonCall
from unisd_core.tasks.custom.metrics import Choice, ExactMatch, Metric, Numeric
from unisd_core.tasks.custom.python_tests import PythonTests
from unisd_core.tasks.data import Record
from unisd_core.tasks.splits import set_aside

METRICS: dict[str, Callable[[], Metric]] = {
    "exact_match": ExactMatch,
    "choice": Choice,
    "numeric": Numeric,
    "json_call": JsonCall,
    "python_tests": PythonTests,
}


class OwnRowsTask(Task):
    """Rows of ``custom.train`` and ``custom.test``, prompts and references as they stand."""

    name = "custom"
    test_splits = ("test",)

    def __init__(self, settings: CustomConfig) -> None:
        self.max_completion_length = settings.max_completion_length
        self._settings = settings
        self._metric = METRICS[settings.metric]()
        self._rows: dict[str, list[Row]] = {}

    def rows(self, split: str) -> list[Row]:
        """Rows of "train" or "test" in file order, read once; see Task.rows."""
        self.check_split(split)
        if split not in self._rows:
            if self._settings.test is None:
                self._rows = self._divided(self._read("train", self._settings.train))
            else:
                self._rows[split] = self._read(split, getattr(self._settings, split))
        return list(self._rows[split])

    def _divided(self, rows: Sequence[Row]) -> dict[str, list[Row]]:
        count = self._settings.test_rows
        if count >= len(rows):
            raise UserError(
                f"custom.test_rows: {count} rows cannot be set aside of the {len(rows)} in "
                f"{self._settings.train}; lower it or give custom.test"
            )
        train, test = set_aside(rows, count, "")
        return {"train": train, "test": test}

    def _read(self, split: str, path: str | None) -> list[Row]:
        if path is None:
            raise UserError(f"custom.{split}: not set; give a .jsonl or .parquet file of rows")
        rows: list[Row] = []
        places: dict[str, str] = {}
        for record in read_file(Path(path)):
            row = self.row(record)
            if row.uid in places:
                raise UserError(
                    f"{record.place}: the same uid, or prompt and reference, as "
                    f"{places[row.uid]}; remove one of the rows"
                )
            places[row.uid] = record.place
            rows.append(row)
        for row, score in zip(rows, self.score_many(rows, [r.gold for r in rows]), strict=True):
            if not score.correct:
                raise UserError(
                    f"{places[row.uid]}: custom.metric={self._settings.metric} does not score "
                    "the reference as right; fix the row or choose another metric"
                )
        return rows

    def row(self, record: Record) -> Row:
        """The row of one record; UserError naming its place where it is none."""
        record = with_reference(record)
        prompt, reference = record.text("prompt"), record.text("reference")
        uid = record.optional_text("uid") or _digest(f"{prompt}\0{reference}")[:16]
        return Row(
            uid=f"custom/{uid}",
            prompt=prompt,
            gold=reference,
            answer=self._metric.answer(record, record.optional_text("answer") or reference),
            retrieval_text=prompt,
            hint=record.optional_text("hint"),
            category=record.optional_text("category"),
        )

    def wrong_reference(self, row: Row, rng: random.Random) -> Row | None:
        """A wrong answer by the rule of the metric; see ``Metric.wrong``."""
        gold = self._metric.wrong(row, self.rows("train"), rng)
        if gold is None or self.score(row, gold).correct:
            return None
        return dataclasses.replace(row, gold=gold, hint="")

    def demonstration(self, row: Row) -> str:
        """The prompt and its reference."""
        return f"{row.prompt}\n{row.gold}"

    def score(self, row: Row, completion: str) -> AnswerScore:
        """The metric's score."""
        return self._metric.score(row.answer, completion)

    def score_many(self, rows: Sequence[Row], completions: Sequence[str]) -> list[AnswerScore]:
        """``score`` of each pair, in parallel where the metric runs programs."""
        return self._metric.score_many([row.answer for row in rows], completions)

    def readable(self, row: Row, completion: str) -> bool:
        """Whether an answer can be read from ``completion``, right or wrong."""
        return self._metric.readable(row.answer, completion)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
