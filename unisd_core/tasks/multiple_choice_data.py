"""The multiple-choice sets: what is read from a row, and where the hub keeps it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass

from unisd_core.errors import UserError
from unisd_core.tasks.data import HubSource, Record, read_folder, read_hub

LETTERS = "ABCDEFGHIJ"
REASONING_CHARACTERS = 360
"""Longest explanation in a reference, about 90 tokens: what the prompt asks for (three short
sentences) and what the decoding limit leaves room for."""

_SENTENCE_START = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class Question:
    """One published question, options in published order; lecture and reasoning may be empty."""

    key: str
    text: str
    options: tuple[str, ...]
    correct: int
    lecture: str
    reasoning: str
    subject: str


@dataclass(frozen=True)
class Dataset:
    """What differs between the multiple-choice sets."""

    name: str
    test_splits: tuple[str, ...]
    max_completion_tokens: int
    explains: bool
    """Whether references hold an explanation, so that the prompt asks for one."""
    hub: HubSource
    from_hub: Callable[[Record], Record]
    """A hub record under the field names of the JSONL files."""


def _cos_e(record: Record) -> Record:
    choices, answer = record.texts("choices"), record.text("answer")
    if answer not in choices:
        raise UserError(f"{record.place}: field 'answer' must be one of the choices; fix the row")
    return _with(
        record,
        answer_index=choices.index(answer),
        rationale=record.optional_text("abstractive_explanation"),
    )


def _scienceqa(record: Record) -> Record:
    lecture = record.optional_text("lecture")
    return _with(
        record,
        id=f"row-{record.index}",
        answer_index=record.fields.get("answer"),
        rationale=lecture + record.optional_text("solution"),
        lecture_chars=len(lecture),
    )


def _arc(record: Record) -> Record:
    choices, key = record.fields.get("choices"), record.text("answerKey")
    if not isinstance(choices, dict) or key not in choices.get("label", ()):
        raise UserError(f"{record.place}: field 'answerKey' must be a label of 'choices'")
    return _with(
        record, choices=list(choices["text"]), answer_index=list(choices["label"]).index(key)
    )


def _with(record: Record, **fields: object) -> Record:
    return dataclasses.replace(record, fields={**record.fields, **fields})


COS_E = Dataset(
    "cos_e", ("validation",), 96, True, HubSource("Salesforce/cos_e", "v1.11"), _cos_e
)  # fmt: skip
SCIENCEQA = Dataset(
    "scienceqa", ("test",), 128, True,
    HubSource("derek-thomas/ScienceQA", image_column="image"), _scienceqa,
)  # fmt: skip
ARC_EASY = Dataset(
    "arc_easy", ("test",), 64, False, HubSource("allenai/ai2_arc", "ARC-Easy"), _arc
)  # fmt: skip


def read_questions(dataset: Dataset, data_dir: str | None, split: str) -> list[Question]:
    """Every question of ``split`` in published order, from ``data_dir`` or, when None, the hub.

    Raises UserError naming the row for a field that is missing, of the wrong type or an id used
    twice.
    """
    if data_dir is None:
        records = [dataset.from_hub(record) for record in read_hub(dataset.hub, split)]
    else:
        records = read_folder(data_dir, dataset.name, split)
    seen: dict[str, str] = {}
    questions = []
    for record in records:
        question = _question(record)
        if question.key in seen:
            raise UserError(
                f"{record.place}: id {question.key!r} is already used at {seen[question.key]}; "
                "make ids unique"
            )
        seen[question.key] = record.place
        questions.append(question)
    return questions


def _question(record: Record) -> Question:
    options = tuple(option.strip() for option in record.texts("choices"))
    if not 2 <= len(options) <= len(LETTERS) or not all(options):
        raise UserError(
            f"{record.place}: field 'choices' must hold 2 to {len(LETTERS)} texts that are not "
            f"blank, found {len(options)}"
        )
    rationale = record.optional_text("rationale")
    border = record.optional_integer("lecture_chars", 0, len(rationale)) or 0
    return Question(
        key=record.text("id"),
        text=record.text("question").strip(),
        options=options,
        correct=record.integer("answer_index", 0, len(options) - 1),
        lecture=rationale[:border].strip(),
        reasoning=last_sentences(rationale[border:], REASONING_CHARACTERS),
        subject=record.optional_text("subject"),
    )


def last_sentences(text: str, limit: int) -> str:
    """``text`` on one line; when longer than ``limit`` characters only its last sentences, which
    draw the conclusion (at least one, cut at a word from the left if it alone is too long)."""
    flat = " ".join(text.split())
    if len(flat) <= limit:
        return flat
    kept = ""
    for sentence in reversed(_SENTENCE_START.split(flat)):
        longer = f"{sentence} {kept}".strip()
        if len(longer) > limit:
            break
        kept = longer
    return kept or flat[-limit:].partition(" ")[2]
