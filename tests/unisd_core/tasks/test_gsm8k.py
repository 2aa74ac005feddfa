import json
import random
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unisd_core.common.errors import UserError
from unisd_core.tasks.base import Task
from unisd_core.tasks.registry import load_task
from unisd_core.tasks.row import Row

PENS = {
    "question": "Ann buys 6 boxes of 7 pens. How many pens?",
    "answer": "Each box holds 7 pens.\nSo there are 6*7 = <<6*7=42>>42 pens.\n#### 42",
}


def rows_of(tmp_path: Path, *records: dict[str, Any]) -> tuple[Task, list[Row]]:
    folder = tmp_path / "gsm8k"
    folder.mkdir(exist_ok=True)
    text = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "train.jsonl").write_text(text, encoding="utf-8")
    task = load_task("gsm8k", str(tmp_path), 0)
    return task, task.rows("train")


def test_prompt_and_reference_agree_on_the_form(tmp_path: Path) -> None:
    task, (row,) = rows_of(tmp_path, PENS)
    assert PENS["question"] in row.prompt
    assert row.prompt.endswith("\n#### <number>")
    assert row.reference == "Each box holds 7 pens.\nSo there are 6*7 = 42 pens.\n#### 42"
    assert row.uid == "gsm8k/train/row-0"
    assert task.score(row, row.reference).correct
    assert task.demonstration(row) == f"Problem: {PENS['question']}\nSolution: {row.reference}"


def test_score_reads_the_final_number(tmp_path: Path) -> None:
    task, (row,) = rows_of(tmp_path, PENS)
    for text in ("6 and 7.\n#### 42", "The answer is $42.00.", "#### 41\n#### 42"):
        assert task.score(row, text).correct, text
    for text in ("42 less 1\n#### 41", "42, so the answer is 7", "#### -42"):
        score = task.score(row, text)
        assert score.extracted, text
        assert not score.correct, text
    for text in ("no idea", "\\boxed{42\\sqrt{3}}", "<think>#### 42</think>", "<think>#### 42"):
        assert not task.score(row, text).extracted, text


def test_a_wrong_reference_concludes_what_it_states(tmp_path: Path) -> None:
    task, (row,) = rows_of(tmp_path, PENS)
    for seed in range(20):
        wrong = task.wrong_reference(row, random.Random(seed))
        assert wrong is not None
        number = wrong.reference.rpartition("#### ")[2]
        assert number != "42"
        assert wrong.reference == row.reference.replace("42", number)
        assert not task.score(row, wrong.reference).correct
        assert (wrong.uid, wrong.prompt, wrong.details) == (row.uid, row.prompt, row.details)


NUMBERS = st.one_of(
    st.integers(-(10**7), 10**7).map(str),
    st.integers(0, 10**7).map(lambda n: f"{n:,}"),
    st.decimals(0, 10**5, places=2).map(str),
)


@settings(deadline=None)
@given(st.text(alphabet="ab 3=.\n", max_size=30), NUMBERS, st.integers())
def test_any_final_number_has_a_wrong_reference(
    tmp_path_factory: pytest.TempPathFactory, reasoning: str, number: str, seed: int
) -> None:
    record = {"question": "How many?", "answer": f"{reasoning}{number}\n#### {number}"}
    task, (row,) = rows_of(tmp_path_factory.getbasetemp(), record)
    assert task.score(row, row.reference).correct
    wrong = task.wrong_reference(row, random.Random(seed))
    assert wrong is not None
    score = task.score(row, wrong.reference)
    assert score.extracted
    assert not score.correct
    assert wrong.reference.count("\n") == row.reference.count("\n")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({**PENS, "answer": "42"}, "field 'answer' must end in a line '#### <number>'"),
        ({**PENS, "answer": "#### many"}, "field 'answer' must end in a line"),
        ({**PENS, "answer": "#### 2\\sqrt{3}"}, "field 'answer' must end in a line"),
        ({**PENS, "answer": None}, "field 'answer' must be text"),
        ({"answer": "#### 42"}, "field 'question' must be text, but it is missing"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, record: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=r"train\.jsonl:2: ") as caught:
        rows_of(tmp_path, PENS, record)
    assert message in str(caught.value)


def test_the_hub_set_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(*names: Any, split: str) -> list[dict[str, Any]]:
        asked.append((*names, split))
        return [PENS]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    (row,) = load_task("gsm8k", None, 0).rows("test")
    assert asked == [("openai/gsm8k", "main", "test")]
    assert row.details["number"] == 42
