"""GSM8K: word problems with a worked solution, right when the final number is."""

from __future__ import annotations

import dataclasses
import random

from unisd_core.common.errors import UserError
from unisd_core.tasks.base import Task
from unisd_core.tasks.data import HubSource, Record, read_folder, read_hub
from unisd_core.tasks.reading.numbers import (
    NotOneNumber,
    extract_number,
    reference_number,
    same_number,
    with_wrong_number,
    without_marks,
)
from unisd_core.tasks.row import AnswerScore, Row

_HUB = HubSource("openai/gsm8k", "main")
_PROMPT = """Solve this problem step by step.
Problem: {question}
End with a line that holds the number alone, in this form:
#### <number>"""


class Gsm8k(Task):
    """Rows read from ``<data_dir>/gsm8k/<split>.jsonl`` or, when data_dir is None, the hub."""

    name = "gsm8k"
    test_splits = ("test",)
    max_completion_length = 512

    def __init__(self, data_dir: str | None) -> None:
        self._data_dir = data_dir
        self._rows: dict[str, list[Row]] = {}

    def rows(self, split: str) -> list[Row]:
        """Rows of "train" or "test" in published order, read once; see Task.rows."""
        self.check_split(split)
        if split not in self._rows:
            records = (
                read_hub(_HUB, split)
                if self._data_dir is None
                else read_folder(self._data_dir, self.name, split)
            )
            self._rows[split] = [_row(f"gsm8k/{split}/row-{r.index}", r) for r in records]
        return list(self._rows[split])

    def wrong_reference(self, row: Row, rng: random.Random) -> Row | None:
        """The solution with another final number, also where its last step arrives at it."""
        wrong = with_wrong_number(row.reference, rng)
        return None if wrong is None else dataclasses.replace(row, reference=wrong)

    def demonstration(self, row: Row) -> str:
        """The problem and its solution, without instruction."""
        return f"Problem: {row.details['question']}\nSolution: {row.reference}"

    def score(self, row: Row, completion: str) -> AnswerScore:
        """Whether the number read from ``completion`` is the right one; see ``extract_number``."""
        number = extract_number(completion)
        return AnswerScore(
            correct=number is not None and same_number(number, row.details["number"]),
            extracted=number is not None,
        )


def _row(uid: str, record: Record) -> Row:
    question = record.text("question").strip()
    reasoning, mark, final = without_marks(record.text("answer")).rpartition("####")
    try:
        amount = reference_number(final)
    except NotOneNumber:
        amount = None
    if not mark or amount is None:
        raise UserError(
            f"{record.place}: field 'answer' must end in a line '#### <number>'; fix the row"
        )
    return Row(
        uid=uid,
        prompt=_PROMPT.format(question=question),
        reference=f"{reasoning.strip()}\n#### {final.strip()}".lstrip(),
        details={"question": question, "number": amount.number},
        retrieval_text=question,
        question=question,
    )
