from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from unisd_core.tasks.digests import digest_rows, first_difference
from unisd_core.tasks.row import Row

ROWS = [Row(f"question {n}", f"answer {n}", uid=f"u{n}") for n in range(6)]


def edited(number: int, **changes: Any) -> list[Row]:
    return [*ROWS[:number], dataclasses.replace(ROWS[number], **changes), *ROWS[number + 1 :]]


def found(now: list[Row], before: list[Row] = ROWS) -> str | None:
    was, is_now = digest_rows(before), digest_rows(now)
    if was.whole == is_now.whole:
        return None
    return first_difference(was.parts_NP, is_now.parts_NP, now, lambda row: row.uid)


def test_equal_rows_have_equal_digests_of_eight_bytes_each() -> None:
    assert found([dataclasses.replace(row) for row in ROWS]) is None
    assert digest_rows(ROWS).parts_NP.nbytes == 8 * len(ROWS)
    assert digest_rows([]).parts_NP.shape == (0, 4)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"prompt": "question 2 "}, "prompt"),
        ({"retrieval_text": "words"}, "prompt"),
        ({"reference": "answer 3"}, "reference"),
        ({"hint": "why"}, "reference"),
        ({"answer": "3"}, "answer"),
        ({"choices": ["a", "b"]}, "answer"),
        ({"tests": "assert f()"}, "answer"),
        ({"category": "sums"}, "answer"),
        ({"details": {"number": 4}}, "answer"),
        ({"uid": "other"}, "uid"),
        ({"prompt": "x", "reference": "y"}, "prompt and reference"),
    ],
)
def test_the_part_of_a_row_that_changed_is_named(changes: dict[str, Any], part: str) -> None:
    uid = changes.get("uid", "u2")
    assert found(edited(2, **changes)) == f"row 3 ({uid}) has another {part}"


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ([*ROWS[:2], *ROWS[3:]], "a row before row 3 (u3) was removed"),
        (ROWS[1:], "a row before row 1 (u1) was removed"),
        (ROWS[:4], "2 rows were removed at the end, after row 4"),
        ([*ROWS, Row("q", "a", uid="new")], "row 7 (new) was added"),
        ([*ROWS[:3], Row("q", "a", uid="new"), *ROWS[3:]], "row 4 (new) was added"),
        ([ROWS[0], ROWS[2], ROWS[1], *ROWS[3:]], "row 2 (u2) was moved"),
        ([], "6 rows were removed at the end, after row 0"),
    ],
)
def test_rows_that_came_went_or_moved_are_told_apart(now: list[Row], said: str) -> None:
    assert found(now) == said


def test_the_first_of_several_changes_is_named() -> None:
    assert found([*edited(1, hint="x")[:4], ROWS[5]]) == "row 2 (u1) has another reference"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": [2]}, {"b": (2,), "a": 1}),
        ({"letters": {"A", "B", "C"}}, {"letters": frozenset("CBA")}),
    ],
)
def test_details_are_compared_by_value(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert found(edited(0, details=one), edited(0, details=other)) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [({"a": 1}, {"a": "1"}), ({"a": [1, [2]]}, {"a": [[1], 2]}), ({"a": True}, {"a": 1})],
)
def test_details_of_other_kinds_differ(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert found(edited(0, details=one), edited(0, details=other)) is not None


@dataclass
class Call:
    name: str


def test_data_classes_count_by_their_fields_and_other_objects_by_their_type() -> None:
    def of(value: Any) -> str:
        return digest_rows([Row("q", "a", details={"value": value})]).whole

    assert of(Call("f")) == of(Call("f")) != of(Call("g"))
    assert of(object()) == of(object()) != of(test_rows_that_came_went_or_moved_are_told_apart)


def test_half_a_surrogate_pair_has_a_digest() -> None:
    assert digest_rows([Row("\ud800", "a")]).whole != digest_rows([Row("\ud801", "a")]).whole


def test_digests_do_not_depend_on_the_process() -> None:
    code = (
        "from unisd_core.tasks.digests import digest_rows; from unisd_core.tasks.row import Row; "
        "print(digest_rows([Row('q', 'a', details={'s': set('abcdef'), 'k': {'y': 1, 'x': 2}})])"
        ".whole)"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
