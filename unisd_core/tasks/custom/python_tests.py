"""The metric of programs: right when the row's tests pass in the sandbox."""

from __future__ import annotations

import ast
import random
from collections.abc import Mapping, Sequence
from typing import Any

from unisd_core.common.errors import UserError
from unisd_core.tasks.code.extraction import extract_code
from unisd_core.tasks.code.judging import failing_mutant, score_programs
from unisd_core.tasks.code.source import parse, written
from unisd_core.tasks.custom.metric import Metric
from unisd_core.tasks.data import Record
from unisd_core.tasks.row import AnswerScore, Row


class PythonTests(Metric):
    """A program in plain text or a code block. ``tests`` is Python that raises unless all is well;
    the program must define the first name that it calls and the reference defines."""

    def details(self, record: Record, wanted: str) -> dict[str, Any]:
        tests = record.text("tests")
        tree = parse(tests)
        if tree is None:
            raise UserError(f"{record.place}: field 'tests' is not Python; fix the row")
        called = (
            node.func.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        )
        for function in called:
            code = extract_code(wanted, function)
            if code is not None:
                return {"tests": tests, "function": function, "code": code}
        raise UserError(
            f"{record.place}: field 'tests' calls nothing that the reference defines; fix the row"
        )

    def score(self, details: Mapping[str, Any], completion: str) -> AnswerScore:
        return self.score_many([details], [completion])[0]

    def score_many(
        self, details: Sequence[Mapping[str, Any]], completions: Sequence[str]
    ) -> list[AnswerScore]:
        """``score`` of each pair, several programs at a time."""
        found = [
            extract_code(text, one["function"])
            for one, text in zip(details, completions, strict=True)
        ]
        return score_programs(found, [one["tests"] for one in details])

    def parseable(self, details: Mapping[str, Any], completion: str) -> bool:
        """Whether ``completion`` defines the function; nothing is run."""
        return extract_code(completion, details["function"]) is not None

    def wrong(self, row: Row, others: Sequence[Row], rng: random.Random) -> str | None:
        """The reference with one small mistake in its program that makes a test fail."""
        code = row.details["code"]
        tree = parse(code)
        plain = written(tree) if tree else None
        if plain is None or code not in row.reference:
            return None
        mutant = failing_mutant(plain, row.details["tests"], rng)
        return None if mutant is None else str(row.reference).replace(code, mutant)
