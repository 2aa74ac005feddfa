"""Metric: its interface, and the metrics that compare a text, a letter or a number."""

from __future__ import annotations

import random
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from unisd_core.common.errors import UserError
from unisd_core.tasks.base import AnswerScore, Row
from unisd_core.tasks.data import Record
from unisd_core.tasks.multiple_choice.data import LETTERS
from unisd_core.tasks.multiple_choice.extraction import extract_choice
from unisd_core.tasks.numbers import extract_number, same_number, with_wrong_number


class Metric(ABC):
    """How answers are read and compared; ``Row.answer`` is what it needs to know of a row."""

    @abstractmethod
    def answer(self, record: Record, wanted: str) -> dict[str, Any]:
        """``Row.answer`` for a record. ``wanted`` is its ``answer`` or, without one, its
        ``reference``. Raises UserError naming the row where it holds nothing to compare with."""

    @abstractmethod
    def score(self, answer: Mapping[str, Any], completion: str) -> AnswerScore:
        """Compare what ``completion`` says with ``answer``; never raises on model text."""

    def score_many(
        self, answers: Sequence[Mapping[str, Any]], completions: Sequence[str]
    ) -> list[AnswerScore]:
        """``score`` of each pair."""
        return [self.score(a, text) for a, text in zip(answers, completions, strict=True)]

    def readable(self, answer: Mapping[str, Any], completion: str) -> bool:
        """Whether an answer can be read from ``completion``, right or wrong."""
        return self.score(answer, completion).extracted

    @abstractmethod
    def wrong(self, row: Row, others: Sequence[Row], rng: random.Random) -> str | None:
        """A wrong answer in the template of ``row.gold``, or None; the caller scores it. ``others``
        are the rows that may lend theirs."""


class ExactMatch(Metric):
    """The whole text or, where the row has an ``answer``, the last line without the label
    "Answer:". White space is compared as one blank."""

    _TRIES = 20
    _LABEL = re.compile(r"[*_#\s]{0,8}answer[*_]{0,4}:[*_]{0,4}", re.IGNORECASE)

    def answer(self, record: Record, wanted: str) -> dict[str, Any]:
        return {"text": _one_line(wanted), "last_line": bool(record.optional_text("answer"))}

    def score(self, answer: Mapping[str, Any], completion: str) -> AnswerScore:
        text = completion.strip()
        if answer["last_line"]:
            line = text.rpartition("\n")[2]
            label = self._LABEL.match(line)
            text = line[label.end() :] if label else line
        return AnswerScore(correct=_one_line(text) == answer["text"], extracted=bool(text))

    def wrong(self, row: Row, others: Sequence[Row], rng: random.Random) -> str | None:
        """The reference of another row that has as many lines."""
        for other in rng.sample(others, min(self._TRIES, len(others))):
            same_form = other.gold.count("\n") == row.gold.count("\n")
            if same_form and not self.score(row.answer, other.gold).correct:
                return other.gold
        return None


class Choice(Metric):
    """The chosen letter; a row's letters are as many as its ``choices`` or, without them, as the
    options listed in its prompt."""

    _OPTION = re.compile(r"(?<!\w)\(?([A-J])[.):](?=\s)")

    def answer(self, record: Record, wanted: str) -> dict[str, Any]:
        letter = extract_choice(wanted, LETTERS)
        if letter is None:
            raise UserError(f"{record.place}: no letter can be read as the answer; fix the row")
        if record.fields.get("choices") is not None:
            count = len(record.texts("choices"))
        else:
            listed = set(self._OPTION.findall(record.text("prompt")))
            count = next((i for i, x in enumerate(LETTERS) if x not in listed), len(LETTERS))
            count = max(count, LETTERS.index(letter) + 1)
        if LETTERS.index(letter) >= count or count > len(LETTERS):
            raise UserError(
                f"{record.place}: field 'choices' has {count} texts and the answer is {letter}; "
                f"at most {len(LETTERS)} choices can be lettered"
            )
        return {"letter": letter, "letters": LETTERS[:count]}

    def score(self, answer: Mapping[str, Any], completion: str) -> AnswerScore:
        letter = extract_choice(completion, answer["letters"])
        return AnswerScore(correct=letter == answer["letter"], extracted=letter is not None)

    def wrong(self, row: Row, others: Sequence[Row], rng: random.Random) -> str | None:
        """Another letter in the place of the right one."""
        right = row.answer["letter"]
        places = list(re.finditer(rf"(?<!\w){right}(?!\w)", row.gold))
        for letter in rng.sample(row.answer["letters"], len(row.answer["letters"])):
            if letter != right and places:
                start, end = places[-1].span()
                gold = row.gold[:start] + letter + row.gold[end:]
                if extract_choice(gold, row.answer["letters"]) == letter:
                    return gold
        return None


class Numeric(Metric):
    """The number an answer settles on; see ``extract_number``."""

    def answer(self, record: Record, wanted: str) -> dict[str, Any]:
        number = extract_number(wanted)
        if number is None:
            raise UserError(f"{record.place}: no number can be read as the answer; fix the row")
        return {"number": number}

    def score(self, answer: Mapping[str, Any], completion: str) -> AnswerScore:
        number = extract_number(completion)
        correct = number is not None and same_number(number, answer["number"])
        return AnswerScore(correct=correct, extracted=number is not None)

    def wrong(self, row: Row, others: Sequence[Row], rng: random.Random) -> str | None:
        """The reference with another number."""
        return with_wrong_number(row.gold, rng)


def _one_line(text: str) -> str:
    return " ".join(text.split())
