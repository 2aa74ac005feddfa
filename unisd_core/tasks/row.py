"""Rows of a task, and what is said of an answer to one."""

from __future__ import annotations

import hashlib
import heapq
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """One question with its reference answer.

    Only ``prompt`` and ``reference`` have to be given. ``answer``, ``choices`` and ``tests`` are
    what the metrics of custom rows compare with (see ``Task.from_rows``); other tasks keep what
    they need to score and to show a row in ``details``.
    """

    prompt: str
    """The student's whole user turn."""
    reference: str
    """The answer that the teacher is shown, in exactly the form the student is asked to answer
    in."""
    _: KW_ONLY
    answer: str = ""
    """The part of the reference that counts; "" where all of it does."""
    choices: Sequence[str] = ()
    """Texts of the options whose letter is asked for."""
    tests: str | Sequence[str] | Sequence[Mapping[str, str]] = ""
    """Python that raises unless the program asked for does its work, a list of asserts, or inputs
    with outputs."""
    hint: str = ""
    """A short explanation of the reference for the teacher."""
    category: str = ""
    uid: str = ""
    """Name that is stable across runs and machines; by default a digest of both texts."""
    retrieval_text: str = ""
    """By which similar rows are found; by default the prompt."""
    question: str = ""
    """What is asked, whatever the order of its options; by default the prompt. Rows that ask the
    same (``question_key``) are no examples for each other and stay in one part of a split."""
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.uid in ("", None):
            texts = f"{self.prompt}\0{self.reference}".encode("utf-8", "surrogatepass")
            object.__setattr__(self, "uid", hashlib.sha256(texts).hexdigest()[:16])
        if not self.retrieval_text:
            object.__setattr__(self, "retrieval_text", self.prompt)
        if not self.question:
            object.__setattr__(self, "question", self.prompt)


def question_key(row: Row) -> str:
    """``row.question`` without case, spacing and ways to write one character (NFC): rows with equal
    keys ask the same."""
    folded = unicodedata.normalize("NFC", row.question).casefold()
    return " ".join(unicodedata.normalize("NFC", folded).split())


def drawn(rows: Sequence[Row], size: int, purpose: str) -> Sequence[Row]:
    """``size`` of ``rows``, the same whatever their order and other ones for another ``purpose``;
    ``rows`` themselves where there are no more."""

    def lot(row: Row) -> bytes:
        return hashlib.sha256(f"{purpose}{row.uid}".encode("utf-8", "surrogatepass")).digest()

    return rows if len(rows) <= size else heapq.nsmallest(size, rows, key=lot)


@dataclass(frozen=True)
class AnswerScore:
    """Outcome of one completion: ``correct`` (the task's accuracy), ``extracted``
    (an answer could be read at all) and finer parts in [0, 1] by name."""

    correct: bool
    extracted: bool
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class NegativeRequest:
    """A wish for one wrong answer: ``prompt`` is the user turn that asks a model for an error of
    the given ``kind`` ("<task>/<error>/<version>"; the version changes with the prompt).

    ``read`` turns the model's text into the row with ``reference`` and ``hint`` replaced, in the
    template of the reference; None for a text that is empty, unreadable or right.
    """

    kind: str
    prompt: str
    read: Callable[[str], Row | None]
