"""The multiple-choice tasks on published rows, where a folder with them is at hand."""

import os
import random
from pathlib import Path
from typing import Any

import pytest

from unisd_core.tasks.reading.choices import extract_choice
from unisd_core.tasks.registry import load_task
from unisd_core.tasks.row import question_key
from unisd_core.tasks.splits import asked_in_training

BESIDE = Path(__file__).resolve().parents[4] / "shared" / "data"
DATA_DIR = os.environ.get("UNISD_DATA_DIR") or (str(BESIDE) if BESIDE.is_dir() else "")

pytestmark = pytest.mark.skipif(
    not DATA_DIR, reason="no published rows: set UNISD_DATA_DIR to a folder that holds them"
)


def lines_of(name: str, split: str) -> int:
    with open(Path(DATA_DIR) / name / f"{split}.jsonl", "rb") as file:
        return sum(1 for line in file if line.strip())


SPLITS = [
    ("cos_e", "train"), ("cos_e", "validation"), ("scienceqa", "train"),
    ("scienceqa", "test"), ("arc_easy", "train"), ("arc_easy", "test"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "split"), SPLITS)
def test_every_row_loads_and_its_references_score_as_they_should(name: str, split: str) -> None:
    task = load_task(name, DATA_DIR, 0)
    rows = task.rows(split)
    assert len(rows) == lines_of(name, split)
    assert len({row.uid for row in rows}) == len(rows)
    rng = random.Random(0)
    for row in rows:
        letters = "ABCDEFGHIJ"[: len(row.details["options"])]
        assert extract_choice(row.reference, letters) == row.details["letter"], row.uid
        assert task.score(row, row.reference).correct
        wrong = task.wrong_reference(row, rng)
        assert wrong is not None
        score = task.score(row, wrong.reference)
        assert score.extracted
        assert not score.correct, row.uid
        assert wrong.reference.count("\n") == row.reference.count("\n")
        assert task.demonstration(row)


@pytest.mark.parametrize(("name", "split"), SPLITS)
def test_gold_fits_the_decoding_limit(smollm2_tokenizer: Any, name: str, split: str) -> None:
    task = load_task(name, DATA_DIR, 0)
    golds = [row.reference for row in task.rows(split)]
    lengths = [len(ids) for ids in smollm2_tokenizer(golds).input_ids]
    # One more token ends the turn.
    assert max(lengths) + 1 <= task.max_completion_length


TWICE = {"scienceqa": (2, 0, 0), "cos_e": (0, 0, 0), "arc_easy": (0, 0, 0), "mbpp": (0, 1, 1)}
"""Rows that repeat a question, in training and test split, and test rows whose question is trained
on: the table in docs/evaluation.md."""


@pytest.mark.parametrize("name", TWICE)
def test_questions_occur_twice_as_often_as_the_docs_say(name: str) -> None:
    task = load_task(name, DATA_DIR, 0)
    train, test = task.rows("train"), task.rows(task.test_splits[0])
    repeated = [len(rows) - len(set(map(question_key, rows))) for rows in (train, test)]
    assert (*repeated, asked_in_training(test, train)) == TWICE[name]


GPQA = {"main": 448, "diamond": 198, "extended": 546}


@pytest.mark.parametrize("split", GPQA)
def test_gpqa_loads_and_its_references_score_as_they_should(
    smollm2_tokenizer: Any, split: str
) -> None:
    """Compares uids and lengths only: the authors ask that no row be shown."""
    if not (Path(DATA_DIR) / "gpqa" / "dataset.zip").is_file():
        pytest.skip("no gpqa/dataset.zip in the folder of published rows")
    task = load_task("gpqa", DATA_DIR, 0)
    rows = task.rows(split)
    assert len({row.uid for row in rows}) == GPQA[split]
    rng = random.Random(0)
    misread, right_wrong, too_long = [], [], []
    for row in rows:
        if extract_choice(row.reference, "ABCD") != row.details["letter"]:
            misread.append(row.uid)
        wrong = task.wrong_reference(row, rng)
        if wrong is None or task.score(row, wrong.reference).correct:
            right_wrong.append(row.uid)
        if len(smollm2_tokenizer(row.reference).input_ids) + 1 > task.max_completion_length:
            too_long.append(row.uid)
    assert misread == []
    assert right_wrong == []
    assert too_long == []
