"""The metric of programs: right when the row's tests pass in the sandbox."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from unisd_core.common.errors import UserError
from unisd_core.tasks.code.assembly import Assembled
from unisd_core.tasks.code.extraction import find_code, find_script
from unisd_core.tasks.code.judging import failing_mutant, passing, score_programs
from unisd_core.tasks.code.source import parse, written
from unisd_core.tasks.code.suites.suite import failing_code, program, suite_details
from unisd_core.tasks.custom.metric import Metric
from unisd_core.tasks.data import Record
from unisd_core.tasks.row import AnswerScore, Row


class PythonTests(Metric):
    """A program in plain text or a code block, judged by the tests of its row in any of the forms
    of ``suites``. It must define the function that the tests call, or be a script."""

    def details(self, record: Record, wanted: str) -> dict[str, Any]:
        return suite_details(record, wanted)

    def check_many(self, details: Sequence[Mapping[str, Any]], places: Sequence[str]) -> None:
        """Refuse tests that pass whatever the program does; one run in the sandbox for each."""
        programs = [
            program(one["suite"], failing_code(one["suite"], one["code"])) for one in details
        ]
        for place, passes in zip(places, passing(programs), strict=True):
            if passes:
                raise UserError(
                    f"{place}: the tests pass whatever the program does; let them call it and "
                    "raise where it is wrong"
                )

    def score(self, details: Mapping[str, Any], completion: str) -> AnswerScore:
        return self.score_many([details], [completion])[0]

    def score_many(
        self, details: Sequence[Mapping[str, Any]], completions: Sequence[str]
    ) -> list[AnswerScore]:
        """``score`` of each pair, several programs at a time."""
        found = [_found(one, text) for one, text in zip(details, completions, strict=True)]
        return score_programs(
            [
                None if code is None else program(one["suite"], code.code)
                for one, code in zip(details, found, strict=True)
            ]
        )

    def parseable(self, details: Mapping[str, Any], completion: str) -> bool:
        """Whether ``completion`` holds a program that can be tested; nothing is run."""
        return _found(details, completion) is not None

    def wrong(self, row: Row, others: Sequence[Row], rng: random.Random) -> str | None:
        """The reference with one small mistake in its program that makes a test fail."""
        code, found = row.details["code"], _found(row.details, row.reference)
        tree = parse(code)
        plain = written(tree) if tree else None
        if plain is None or found is None or found.code != code or found.piece not in row.reference:
            return None
        mutant = failing_mutant(plain, lambda code: program(row.details["suite"], code), rng)
        return None if mutant is None else str(row.reference).replace(found.piece, mutant)


def _found(details: Mapping[str, Any], text: str) -> Assembled | None:
    if not details["function"]:
        return find_script(text)
    return find_code(text, details["function"], details["also"])
