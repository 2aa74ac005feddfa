"""The metric of mathematical expressions: right when math-verify finds them equal."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from unisd_core.common.errors import UserError, shorten
from unisd_core.tasks.custom.math_process import math_process
from unisd_core.tasks.custom.metric import Metric
from unisd_core.tasks.data import Record
from unisd_core.tasks.reading.expressions import find_expression
from unisd_core.tasks.reading.numbers import NotOneNumber, reference_number, with_wrong_number
from unisd_core.tasks.row import AnswerScore, Row


class MathExpression(Metric):
    """The expression an answer settles on (``find_expression``), whatever its form: numbers,
    fractions, roots, intervals, sets, tuples, matrices, equations."""

    _INTEGER = re.compile(r"(?<![\d.,\w])\d{1,9}(?![\d.,])|(?<=[-+*/^{}()\[\], ])\d{1,9}(?![\d.])")
    _TRIES = 4

    def details(self, record: Record, wanted: str) -> dict[str, Any]:
        found = find_expression(wanted)
        if found is None:
            raise UserError(
                f"{record.place}: no expression can be read as the answer; give it in \\boxed{{}} "
                "or in field 'answer'"
            )
        content = " ".join(wanted[found.start : found.end].split())
        if not found.latex or not math_process().compare([(found.latex, found.latex)])[0].equal:
            raise UserError(
                f"{record.place}: the answer {shorten(content, 80)!r} is no expression that "
                "math-verify can compare; rewrite it or use metric=exact_match"
            )
        return {"latex": found.latex}

    def score(self, details: Mapping[str, Any], completion: str) -> AnswerScore:
        return self.score_many([details], [completion])[0]

    def score_many(
        self, details: Sequence[Mapping[str, Any]], completions: Sequence[str]
    ) -> list[AnswerScore]:
        """``score`` of each pair, all in one process that outlives the call."""
        found = [_read(text) for text in completions]
        pairs = [
            (one["latex"], answer) for one, answer in zip(details, found, strict=True) if answer
        ]
        compared = iter(math_process().compare(pairs) if pairs else [])
        scores = []
        for answer in found:
            if not answer:
                scores.append(AnswerScore(correct=False, extracted=False))
                continue
            one = next(compared)
            scores.append(AnswerScore(correct=one.equal, extracted=one.answer_read))
        return scores

    def wrong(self, row: Row, others: Sequence[Row], rng: random.Random) -> str | None:
        """The reference with another number, or with another one inside its expression."""
        try:
            plain = reference_number(row.reference) is not None
        except NotOneNumber:
            plain = False
        if plain and (wrong := with_wrong_number(row.reference, rng)) is not None:
            return wrong
        found = find_expression(row.reference)
        if found is None:
            return None
        content = row.reference[found.start : found.end]
        for _ in range(self._TRIES):
            changed = self._changed(content, rng)
            wrong = row.reference[: found.start] + changed + row.reference[found.end :]
            score = self.score(row.details, wrong)
            if score.extracted and not score.correct:
                # Where the expression is concluded before, it says the same.
                before = row.reference[: found.start]
                core = content.strip("$ ")
                if len(core) > 2:
                    before = before.replace(core, changed.strip("$ "))
                consistent = before + changed + row.reference[found.end :]
                score = self.score(row.details, consistent)
                return consistent if score.extracted and not score.correct else wrong
        return None

    def _changed(self, content: str, rng: random.Random) -> str:
        integers = list(self._INTEGER.finditer(content))
        if not integers:
            return re.sub(r"^([\s$]*)", r"\g<1>2", content, count=1)
        match = rng.choice(integers)
        number = int(match[0])
        new = rng.choice([number + 1, number + 2, max(number - 1, 0), number * 2 + 1])
        return content[: match.start()] + str(new) + content[match.end() :]


def _read(text: str) -> str:
    found = find_expression(text)
    return found.latex if found else ""
