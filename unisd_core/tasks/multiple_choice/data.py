"""The multiple-choice sets: what is read from a row, and where the hub keeps it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass

from unisd_core.common.errors import UserError
from unisd_core.tasks.data import HubSource, Record, check_unique, read_folder, read_hub
from unisd_core.tasks.multiple_choice.options import read_options

logger = logging.getLogger(__name__)

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
class ChoiceDataset:
    """What differs between the multiple-choice sets."""

    name: str
    test_splits: tuple[str, ...]
    max_completion_length: int
    explains: bool
    """Whether references hold an explanation, so that the prompt asks for one."""
    from_hub: Callable[[str], list[Record]]
    """Records of a split as the hub has it, under the field names of the JSONL files."""
    from_folder: Callable[[str, str], list[Record]] | None = None
    """Records of (data_dir, split) where they are not in a JSONL file."""
    trains: bool = True
    """Whether there is a training split."""
    private: bool = False
    """See ``Task.private``."""


def _cos_e(split: str) -> list[Record]:
    records = []
    for record in read_hub(HubSource("Salesforce/cos_e", "v1.11"), split):
        choices, answer = record.texts("choices"), record.text("answer")
        if answer not in choices:
            raise UserError(
                f"{record.place}: field 'answer' must be one of the choices; fix the row"
            )
        rationale = record.optional_text("abstractive_explanation")
        records.append(record.plus(answer_index=choices.index(answer), rationale=rationale))
    return records


def _scienceqa(split: str) -> list[Record]:
    records = []
    for record in read_hub(HubSource("derek-thomas/ScienceQA", image_column="image"), split):
        lecture = record.optional_text("lecture")
        records.append(
            record.plus(
                id=f"row-{record.index}",
                answer_index=record.fields.get("answer"),
                rationale=lecture + record.optional_text("solution"),
                lecture_chars=len(lecture),
            )
        )
    return records


def _arc(configuration: str) -> Callable[[str], list[Record]]:
    def read(split: str) -> list[Record]:
        records = []
        for record in read_hub(HubSource("allenai/ai2_arc", configuration), split):
            choices, key = record.fields.get("choices"), record.text("answerKey")
            if not isinstance(choices, dict) or key not in choices.get("label", ()):
                raise UserError(f"{record.place}: field 'answerKey' must be a label of 'choices'")
            index = list(choices["label"]).index(key)
            records.append(record.plus(choices=list(choices["text"]), answer_index=index))
        return records

    return read


def _medmcqa(split: str) -> list[Record]:
    """Rows whose label is hidden (cop -1) are left out, and their number is logged."""
    published = read_hub(HubSource("openlifescienceai/medmcqa"), split)
    labelled = [record for record in published if record.fields.get("cop") != -1]
    if len(labelled) < len(published):
        logger.warning(
            "medmcqa/%s: %d of %d rows left out, since their label is hidden",
            split, len(published) - len(labelled), len(published),
        )  # fmt: skip
    return [
        record.plus(
            choices=[record.text(f"op{letter}") for letter in "abcd"],
            answer_index=record.integer("cop", 0, 3),
            rationale=record.optional_text("exp"),
            subject=record.optional_text("subject_name"),
        )
        for record in labelled
    ]


COS_E = ChoiceDataset("cos_e", ("validation",), 96, True, _cos_e)
SCIENCEQA = ChoiceDataset("scienceqa", ("test",), 128, True, _scienceqa)
MEDMCQA = ChoiceDataset("medmcqa", ("validation",), 128, True, _medmcqa)
ARC_EASY = ChoiceDataset("arc_easy", ("test",), 64, False, _arc("ARC-Easy"))
ARC_CHALLENGE = ChoiceDataset("arc_challenge", ("test",), 64, False, _arc("ARC-Challenge"))


def read_questions(dataset: ChoiceDataset, data_dir: str | None, split: str) -> list[Question]:
    """Every question of ``split`` in published order, from ``data_dir`` or, when None, the hub.

    Raises UserError naming the row for a field that is missing, of the wrong type or an id used
    twice.
    """
    if data_dir is None:
        records = dataset.from_hub(split)
    elif dataset.from_folder is not None:
        records = dataset.from_folder(data_dir, split)
    else:
        records = read_folder(data_dir, dataset.name, split)
    questions = [_question(record) for record in records]
    check_unique(records, [f"id {question.key!r}" for question in questions])
    return questions


def _question(record: Record) -> Question:
    options = tuple(option.strip() for option in read_options(record).texts)
    if not 2 <= len(options) <= len(LETTERS) or not all(options):
        raise UserError(
            f"{record.place}: field 'choices' must hold 2 to {len(LETTERS)} texts that are not "
            f"blank, found {len(options)}"
        )
    rationale = record.optional_text("rationale")
    border = record.optional_integer("lecture_chars", 0, len(rationale)) or 0
    return Question(
        key=record.text_or_number("id"),
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
