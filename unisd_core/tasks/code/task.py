"""MBPP and HumanEval: a function from its description, right when all tests pass.

The prompt follows the published template in other words: description, signature, tests,
notes, answer form. The signature is that of the function the tests call.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

from unisd_core.sandbox import Program
from unisd_core.tasks.base import Task
from unisd_core.tasks.code.data import CodeDataset, Problem, read_problems
from unisd_core.tasks.code.extraction import extract_code
from unisd_core.tasks.code.judging import failing_mutant, fails, loads, score_programs
from unisd_core.tasks.code.mistakes import MISTAKES, as_reference, mistake_prompt
from unisd_core.tasks.code.source import block, defines
from unisd_core.tasks.row import AnswerScore, NegativeRequest, Row

_FROM_TASK = """Write a Python function for this task.
Task: {text}
Signature: {signature}
It must pass these tests:
{tests}
"""
_FROM_STUB = """{text}
Complete the Python function {function} above.
"""
_NOTES = """Notes:
- Keep the name {function}, which the tests call.{also}
- Write the whole function with its signature, and import every module it uses.
- Write the code alone, without tests or explanation, in one code block:
```python
<code>
```"""


class CodeTask(Task):
    """Rows of one dataset, read from ``data_dir`` or, when None, the hub."""

    max_completion_length = 512

    def __init__(self, dataset: CodeDataset, data_dir: str | None) -> None:
        self.name = dataset.name
        self.test_splits = tuple(split for split in dataset.splits if split != "train")
        self.trains = "train" in dataset.splits
        self._dataset = dataset
        self._data_dir = data_dir
        self._rows: dict[str, list[Row]] = {}

    def rows(self, split: str) -> list[Row]:
        """Rows of a split in published order, read once; see Task.rows."""
        self.check_split(split)
        if split not in self._rows:
            self._rows[split] = [
                self._row(f"{self.name}/{split}/{problem.key}", problem)
                for problem in read_problems(self._dataset, self._data_dir, split)
            ]
        return list(self._rows[split])

    def _row(self, uid: str, problem: Problem) -> Row:
        also = (
            f" The tests also use {', '.join(problem.also)}; define that too."
            if problem.also
            else ""
        )
        fields = {**dataclasses.asdict(problem), "also": also}
        return Row(
            uid=uid,
            prompt=((_FROM_STUB if problem.stub else _FROM_TASK) + _NOTES).format(**fields),
            reference=block(problem.reference),
            details={
                "function": problem.function,
                "also": problem.also,
                "text": problem.text,
                "tests": problem.tests,
                "stub": problem.stub,
                "code": problem.reference,
            },
            retrieval_text=problem.text,
            question=problem.text,
        )

    def wrong_reference(self, row: Row, rng: random.Random) -> Row | None:
        """The reference with one small mistake that makes a test fail; None where none of the
        first mutants does."""
        code = failing_mutant(row.details["code"], lambda code: _tested(row, code), rng)
        return None if code is None else dataclasses.replace(row, reference=block(code))

    def negative_request(self, row: Row, rng: random.Random, number: int) -> NegativeRequest:
        """One of the kinds of ``MISTAKES`` in turn; what comes back is rewritten in the form of
        the reference, and refused unless it defines the function and fails a test."""
        kind = list(MISTAKES)[number % len(MISTAKES)]

        def read(text: str) -> Row | None:
            found = _program(row, text)
            code = found and as_reference(found)
            if (
                not code
                or code == row.details["code"]
                or not defines(code, row.details["function"])
            ):
                return None
            # Code that cannot even be loaded, for want of a package perhaps, proves nothing.
            if not loads(code) or not fails(_tested(row, code)):
                return None
            return dataclasses.replace(row, reference=block(code))

        return NegativeRequest(
            f"{self.name}/{kind}/1", mistake_prompt(kind, row.prompt, row.reference), read
        )

    def secret(self, row: Row) -> str:
        """The code without its fence."""
        return str(row.details["code"])

    def demonstration(self, row: Row) -> str:
        """Description, tests and code; no instruction."""
        tests = "" if row.details["stub"] else f"Tests:\n{row.details['tests']}\n"
        return f"Task: {row.details['text']}\n{tests}{row.reference}"

    def score(self, row: Row, completion: str) -> AnswerScore:
        """Whether the program in ``completion`` passes all tests of the row in the sandbox."""
        return self.score_many([row], [completion])[0]

    def score_many(self, rows: Sequence[Row], completions: Sequence[str]) -> list[AnswerScore]:
        """``score`` of each pair, several programs at a time."""
        found = [(row, _program(row, text)) for row, text in zip(rows, completions, strict=True)]
        return score_programs([None if code is None else _tested(row, code) for row, code in found])

    def parseable(self, row: Row, completion: str) -> bool:
        """Whether ``completion`` holds Python that defines the function; nothing is run."""
        return _program(row, completion) is not None


def _program(row: Row, completion: str) -> str | None:
    details = row.details
    return extract_code(completion, details["function"], details["stub"], details["also"])


def _tested(row: Row, code: str) -> Program:
    return Program(code, row.details["tests"])
