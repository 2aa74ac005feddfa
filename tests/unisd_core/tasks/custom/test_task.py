from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from tests.unisd_core.tasks.custom.rows import custom_task, task_of, write_rows
from unisd_core.common.errors import UserError
from unisd_core.config.data import CustomConfig
from unisd_core.tasks.custom.metrics import METRICS

CAPITALS = [
    {"prompt": "Capital of France?", "reference": "Paris"},
    {"prompt": "Capital of Norway?", "reference": "Oslo"},
    {"prompt": "Capital of Spain?", "reference": "Madrid"},
]


def numbered(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"What is {n}?", "reference": f"number {n}"} for n in range(count)]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_rows_are_taken_as_they_stand(tmp_path: Path, suffix: str) -> None:
    full = {"uid": "f", "hint": "On the Seine.", "category": "Europe"}
    path = write_rows(tmp_path / f"a.{suffix}", {**CAPITALS[0], **full}, CAPITALS[1])
    task = custom_task(path, test=path)
    france, norway = task.rows("train")
    assert (france.prompt, france.reference) == ("Capital of France?", "Paris")
    assert (france.uid, france.hint, france.category) == ("custom/f", "On the Seine.", "Europe")
    assert (norway.hint, norway.category) == ("", "")
    assert task.demonstration(norway) == "Capital of Norway?\nOslo"
    assert task.rows("test") == task.rows("train")
    assert task.score(france, "Paris").correct
    assert task.parseable(france, "Rome")
    assert not task.parseable(france, " ")


def test_uids_follow_the_content_not_the_place(tmp_path: Path) -> None:
    _, rows = task_of(tmp_path, "exact_match", *CAPITALS)
    _, turned = task_of(tmp_path, "exact_match", *reversed(CAPITALS))
    assert rows == turned[::-1]
    assert len({row.uid for row in rows}) == 3


def test_without_a_test_file_rows_are_set_aside(tmp_path: Path) -> None:
    rows = numbered(50)
    path = write_rows(tmp_path / "a.jsonl", *rows)
    task = custom_task(path, test_rows=10)
    train, test = task.rows("train"), task.rows("test")
    assert (len(train), len(test)) == (40, 10)
    assert {row.prompt for row in [*train, *test]} == {row["prompt"] for row in rows}
    # The order in the file decides nothing, and a new row moves at most one of the others.
    write_rows(tmp_path / "a.jsonl", *reversed(rows), {"prompt": "new", "reference": "new"})
    again = custom_task(path, test_rows=10).rows("test")
    assert len({row.uid for row in test} - {row.uid for row in again}) <= 1
    with pytest.raises(UserError, match=r"custom\.test_rows: 51 .*of the 51 in .*a\.jsonl"):
        custom_task(path, test_rows=51).rows("train")


def test_rows_set_aside_share_no_question_with_the_others(tmp_path: Path) -> None:
    twice = [{**row, "reference": row["reference"] + end} for row in numbered(9) for end in "ab"]
    path = write_rows(tmp_path / "a.jsonl", *twice)
    task = custom_task(path, test_rows=5, contradictions="keep")
    train, test = task.rows("train"), task.rows("test")
    assert (len(train), len(test)) == (14, 4)
    assert not {row.prompt for row in train} & {row.prompt for row in test}
    one = [{"prompt": "What?", "reference": str(n)} for n in range(5)]
    with pytest.raises(UserError, match=r"custom\.test_rows: every question in .*b\.jsonl"):
        path = write_rows(tmp_path / "b.jsonl", *one)
        custom_task(path, test_rows=3, contradictions="keep").rows("train")


def test_a_set_without_training_rows_can_be_tested_on(tmp_path: Path) -> None:
    task = custom_task(None, test=write_rows(tmp_path / "a.jsonl", *CAPITALS))
    assert len(task.rows("test")) == 3
    with pytest.raises(UserError, match=r"custom\.train: not set"):
        task.rows("train")


@pytest.mark.parametrize(
    ("metric", "row", "message"),
    [
        ("exact_match", {"reference": "x"}, "field 'prompt' must be text, but it is missing"),
        ("exact_match", {"prompt": "x"}, "field 'reference' must be text, but it is missing"),
        ("exact_match", {"prompt": "x", "reference": " "}, "field 'reference' must be text"),
        ("exact_match", {**CAPITALS[1], "hint": 3}, "field 'hint' must be text or null"),
        ("exact_match", {**CAPITALS[0], "hint": "x"}, "other content under the uid of"),
        ("exact_match", {**CAPITALS[0], "reference": "Rome"}, "other reference for the prompt of"),
        ("exact_match", {**CAPITALS[1], "answer": "Bergen"}, "does not score the reference"),
        ("choice", {"prompt": "x", "reference": "tube"}, "no letter can be read"),
        ("choice", {"prompt": "x", "reference": "C", "choices": ["a", "b"]}, "has 2 texts"),
        ("choice", {"prompt": "x", "reference": "A", "answer": "B"}, "does not score"),
        ("numeric", {"prompt": "x", "reference": "many"}, "no number can be read"),
        ("numeric", {"prompt": "x", "reference": "#### 5", "answer": "6"}, "does not score"),
        ("numeric", {"prompt": "x", "reference": "\\boxed{2\\sqrt{3}}"}, "with metric=math"),
        (
            "numeric",
            {"prompt": "x", "reference": "3", "answer": "[2,5)"},
            "'[2,5)' is more than one",
        ),
        ("json_call", {"prompt": "x", "reference": "add(1)"}, "must hold JSON calls"),
        ("python_tests", {"prompt": "x", "reference": "f = 1"}, "field 'tests' must be text"),
        (
            "python_tests",
            {"prompt": "x", "reference": "def f(): return 1", "tests": "assert f( == 1"},
            "field 'tests' is not Python",
        ),
        (
            "python_tests",
            {"prompt": "x", "reference": "def f(): return 1", "tests": "assert g() == 1"},
            "calls nothing that the reference defines",
        ),
        (
            "python_tests",
            {"prompt": "x", "reference": "def f(): return 1", "tests": "assert f() == 2"},
            "custom.metric=python_tests does not score the reference as right",
        ),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, metric: str, row: dict[str, Any], message: str) -> None:
    good = {
        "exact_match": CAPITALS[0],
        "choice": {"prompt": "A. x B. y", "reference": "A"},
        "numeric": {"prompt": "1 + 1?", "reference": "2"},
        "json_call": {"prompt": "x", "reference": '{"name": "add", "arguments": {"a": 1}}'},
        "python_tests": {"prompt": "p", "reference": "def f(): return 1", "tests": "f()"},
    }[metric]
    with pytest.raises(UserError, match=r"train\.jsonl:2: ") as caught:
        task_of(tmp_path, metric, good, row)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 but not really")
    (tmp_path / "a.jsonl").write_text("\n")
    (tmp_path / "a.csv").write_text("prompt,reference\n")
    write_rows(tmp_path / "none.parquet")
    for name, message in [
        ("a.parquet", "cannot be read as Parquet"),
        ("none.parquet", "no rows"),
        ("absent.parquet", "cannot be read as Parquet"),
        ("a.jsonl", "no rows"),
        ("absent.jsonl", "cannot be read"),
        ("a.csv", "must be a .jsonl or .parquet file"),
    ]:
        with pytest.raises(UserError, match=rf"{name}: ") as caught:
            custom_task(str(tmp_path / name)).rows("train")
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_the_settings_name_every_metric() -> None:
    assert get_args(CustomConfig.model_fields["metric"].annotation) == tuple(METRICS)
    with pytest.raises(ValidationError):
        CustomConfig.model_validate({"metric": "bleu"})
