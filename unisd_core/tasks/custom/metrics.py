"""Metrics by name, and those that compare a text, a letter or a number."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from unisd_core.common.errors import UserError, shorten
from unisd_core.common.thoughts import after_thought
from unisd_core.tasks.custom.json_call import JsonCall
from unisd_core.tasks.custom.math_expression import MathExpression
from unisd_core.tasks.custom.metric import Metric
from unisd_core.tasks.custom.python_tests import PythonTests
from unisd_core.tasks.data import Record
from unisd_core.tasks.multiple_choice.data import LETTERS
from unisd_core.tasks.multiple_choice.listing import OPTION, split_options, unordered
from unisd_core.tasks.reading.choices import extract_choice
from unisd_core.tasks.reading.numbers import (
    NotOneNumber,
    extract_number,
    reference_number,
    same_number,
    with_wrong_number,
)
from unisd_core.tasks.row import AnswerScore, Row, question_key


class ExactMatch(Metric):
    """The whole text after a thought or, where the row has an ``answer``, the last line without
    the label "Answer:". White space is compared as one blank."""

    _TRIES = 20
    _LABEL = re.compile(r"[*_#\s]{0,8}answer[*_]{0,4}:[*_]{0,4}", re.IGNORECASE)

    def details(self, record: Record, wanted: str) -> dict[str, Any]:
        text = _one_line(after_thought(wanted))
        if not text:
            raise UserError(f"{record.place}: the answer holds no text but a thought; fix the row")
        return {"text": text, "last_line": bool(record.optional_text("answer"))}

    def score(self, details: Mapping[str, Any], completion: str) -> AnswerScore:
        text = after_thought(completion).strip()
        if details["last_line"]:
            line = text.rpartition("\n")[2]
            label = self._LABEL.match(line)
            text = line[label.end() :] if label else line
        return AnswerScore(correct=_one_line(text) == details["text"], extracted=bool(text))

    def wrong(self, row: Row, others: Sequence[Row], rng: random.Random) -> str | None:
        """The reference of another row that has as many lines and does not ask the same."""
        asked = question_key(row)
        for other in rng.sample(others, min(self._TRIES, len(others))):
            same_form = other.reference.count("\n") == row.reference.count("\n")
            if not same_form or question_key(other) == asked:
                continue
            if not self.score(row.details, other.reference).correct:
                return other.reference
        return None


class Choice(Metric):
    """The chosen letter; a row's letters are as many as its ``choices`` or, without them, as the
    options listed in its prompt."""

    def question(self, record: Record) -> str:
        """The prompt and the options, whatever their order."""
        return unordered(record.text("prompt"), _choices(record))

    def details(self, record: Record, wanted: str) -> dict[str, Any]:
        options = _choices(record) or split_options(record.text("prompt"))[1]
        letter = extract_choice(wanted, LETTERS, options)
        if letter is None:
            raise UserError(f"{record.place}: no letter can be read as the answer; fix the row")
        if record.fields.get("choices") is not None:
            count = len(options)
        else:
            listed = set(OPTION.findall(record.text("prompt")))
            count = next((i for i, x in enumerate(LETTERS) if x not in listed), len(LETTERS))
            count = max(count, LETTERS.index(letter) + 1)
        if LETTERS.index(letter) >= count or count > len(LETTERS):
            raise UserError(
                f"{record.place}: field 'choices' has {count} texts and the answer is {letter}; "
                f"at most {len(LETTERS)} choices can be lettered"
            )
        return {"letter": letter, "letters": LETTERS[:count], "options": options}

    def score(self, details: Mapping[str, Any], completion: str) -> AnswerScore:
        letter = extract_choice(completion, details["letters"], details["options"])
        return AnswerScore(correct=letter == details["letter"], extracted=letter is not None)

    def wrong(self, row: Row, others: Sequence[Row], rng: random.Random) -> str | None:
        """Another letter in the place of the right one."""
        right = row.details["letter"]
        letters, options = row.details["letters"], row.details["options"]
        places = [match.span() for match in re.finditer(rf"(?<!\w){right}(?!\w)", row.reference)]
        # From the last one on: where the right letter is a word, too, not each is the letter.
        for letter in rng.sample(letters, len(letters)):
            for start, end in reversed(places if letter != right else []):
                wrong = row.reference[:start] + letter + row.reference[end:]
                if extract_choice(wrong, letters, options) == letter:
                    return wrong
        return None


class Numeric(Metric):
    """The number an answer settles on; see ``extract_number``. A row must state one plain number;
    where it is in dollars, cents count as hundredths."""

    def details(self, record: Record, wanted: str) -> dict[str, Any]:
        try:
            amount = reference_number(wanted)
        except NotOneNumber as error:
            raise UserError(
                f"{record.place}: the answer {shorten(error.args[0], 80)!r} is more than one "
                "number with sign, unit and currency; give the number alone in field 'answer', or "
                "compare expressions with metric=math"
            ) from None
        if amount is None:
            raise UserError(f"{record.place}: no number can be read as the answer; fix the row")
        return {"number": amount.number, **({"dollars": True} if amount.dollars else {})}

    def score(self, details: Mapping[str, Any], completion: str) -> AnswerScore:
        number = extract_number(completion, details.get("dollars", False))
        correct = number is not None and same_number(number, details["number"])
        return AnswerScore(correct=correct, extracted=number is not None)

    def wrong(self, row: Row, others: Sequence[Row], rng: random.Random) -> str | None:
        """The reference with another number."""
        return with_wrong_number(row.reference, rng)


def _choices(record: Record) -> list[str]:
    return record.texts("choices") if record.fields.get("choices") is not None else []


def _one_line(text: str) -> str:
    return " ".join(text.split())


METRICS: dict[str, Callable[[], Metric]] = {
    "exact_match": ExactMatch,
    "choice": Choice,
    "numeric": Numeric,
    "math": MathExpression,
    "json_call": JsonCall,
    "python_tests": PythonTests,
}
"""The metrics by the names of ``custom.metric``."""
