"""Rows that occur twice or contradict each other, in files and in memory."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.unisd_core.tasks.custom.rows import custom_task, write_rows
from unisd_core.common.errors import UserError
from unisd_core.tasks.base import Task
from unisd_core.tasks.row import Row


def row(number: int, **more: Any) -> dict[str, Any]:
    return {"prompt": f"What is {number}?", "reference": f"number {number}", **more}


def read(tmp_path: Path, *rows: dict[str, Any], **settings: Any) -> list[Row]:
    path = write_rows(tmp_path / "rows.jsonl", *rows)
    return custom_task(path, test=path, **settings).rows("train")


def refusal(tmp_path: Path, *rows: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        read(tmp_path, *rows)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_exact_copies_count_once_and_are_told_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    named = row(2, uid="two", hint="x")
    rows = read(tmp_path, row(1), named, row(1), named, row(3, extra=1), row(3, extra=2), row(1))
    assert [r.prompt for r in rows] == [f"What is {n}?" for n in (1, 2, 3)]
    (told,) = caplog.messages
    assert told.startswith("exact copies of rows are left out, 4 in all: ")
    assert f"{tmp_path}/rows.jsonl:3 of {tmp_path}/rows.jsonl:1" in told


def test_copies_under_uids_of_their_own_stay(tmp_path: Path) -> None:
    assert len(read(tmp_path, row(1, uid="a"), row(1, uid="b"))) == 2


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({}, {"reference": "else"}, "other reference for the prompt of"),
        ({"uid": "a"}, {"uid": "b", "reference": "else"}, "other reference for the prompt of"),
        ({}, {"prompt": " What  is 1?\n", "reference": "x"}, "other reference for the prompt of"),
        ({"uid": "a"}, {"uid": "a", "prompt": "Why?"}, "other content under the uid of"),
        ({"uid": "a"}, {"uid": "a", "hint": "x"}, "other content under the uid of"),
        ({"uid": 1}, {"uid": "1", "hint": "x"}, "other content under the uid of"),
        ({}, {"hint": "x"}, "other content under the uid of"),
        ({}, {"category": "x"}, "other content under the uid of"),
    ],
)
def test_rows_that_contradict_each_other_are_refused_and_may_be_kept(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], message: str
) -> None:
    rows = [row(0), row(1, **first), row(2), row(1) | second]
    said = refusal(tmp_path, *rows)
    path = tmp_path / "rows.jsonl"
    assert said.startswith(f"{path}:4: {message} :2; ")
    assert said.endswith("set custom.contradictions=keep")
    kept = read(tmp_path, *rows, contradictions="keep")
    assert len(kept) == len({r.uid for r in kept}) == 4
    # Neither the order nor what else is there changes the names.
    turned = read(tmp_path, *rows[::-1], contradictions="keep")
    assert {r.uid for r in turned} == {r.uid for r in kept}
    lone = read(tmp_path, row(0), row(2))
    assert {r.uid for r in lone} < {r.uid for r in kept}


def test_choices_belong_to_the_question() -> None:
    rows = [
        Row("Which?", "A", choices=["tea", "coffee"]),
        Row("Which?", "B", choices=["saw", "cloud"]),
    ]
    assert len(Task.from_rows(rows, "choice").rows("train")) == 2
    rows[1] = Row("Which?", "B", choices=["tea", "coffee"])
    with pytest.raises(UserError, match=r"rows\[1\]: other reference for the prompt of rows\[0\]"):
        Task.from_rows(rows, "choice")
    assert len(Task.from_rows(rows, "choice", contradictions="keep").rows("train")) == 2


def test_all_contradictions_are_named_in_a_bounded_line(tmp_path: Path) -> None:
    rows = [row(n % 25, reference=f"answer {n}") for n in range(200)]
    said = refusal(tmp_path, *rows)
    path = tmp_path / "rows.jsonl"
    assert f"{path}:26, :51, :76, :101, :126 and 2 more: other reference" in said
    assert "for the prompt of :10; and 15 more" in said
    assert "25 prompts or uids whose rows contradict each other" in said
    assert len(said) < 100 * 10


def test_one_uid_for_all_rows_takes_no_longer(tmp_path: Path) -> None:
    said = refusal(tmp_path, *(row(n, uid="all") for n in range(20_000)))
    assert "and 19994 more: other content under the uid of :1; " in said


def test_a_test_row_under_the_uid_of_a_training_row_is_scored_too(tmp_path: Path) -> None:
    train = write_rows(tmp_path / "train.jsonl", row(1), row(2))
    test = write_rows(tmp_path / "test.jsonl", row(1, answer="else"))
    task = custom_task(train, test=test)
    task.check_references(task.rows("train"))
    with pytest.raises(UserError, match=r"test\.jsonl:1: .*does not score the reference"):
        task.check_references(task.rows("test"))


def test_rows_in_memory_are_held_to_the_same(caplog: pytest.LogCaptureFixture) -> None:
    rows = [Row(**row(1)), Row(**row(1)), Row(**row(2))]
    task = Task.from_rows(rows)
    assert len(task.rows("train")) == 2
    assert caplog.messages == [
        "exact copies of rows are left out, 1 in all: rows[1] of rows[0]",
    ]
    with pytest.raises(UserError, match=r"set contradictions='keep'"):
        Task.from_rows([*rows, Row("What is 1?", "else")])
    with pytest.raises(UserError, match="contradictions: must be refuse or keep, found 'all'"):
        Task.from_rows(rows, contradictions="all")


def test_without_copies_nothing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        read(tmp_path, *map(row, range(5)))
    assert caplog.messages == []
    assert json.loads((tmp_path / "rows.jsonl").read_text().splitlines()[0]) == row(0)
