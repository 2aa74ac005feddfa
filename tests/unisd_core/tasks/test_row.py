from __future__ import annotations

import dataclasses

from unisd_core.tasks.row import Row, drawn


def test_a_prompt_and_a_reference_are_enough() -> None:
    row = Row("What is 9 * 9?", "81")
    assert row.retrieval_text == row.prompt
    assert (row.answer, row.tests, row.hint, row.category) == ("", "", "", "")
    assert (list(row.choices), dict(row.details)) == ([], {})


def test_a_row_without_a_uid_is_named_after_its_two_texts() -> None:
    row = Row("What is 9 * 9?", "81", hint="Nine nines.", category="arithmetic")
    assert row.uid == Row("What is 9 * 9?", reference="81").uid
    assert row.uid != Row("What is 9 * 9?", "80").uid
    assert row.uid != Row("What is 9 * 98", "1?").uid
    assert Row("half of a pair \ud800", "x").uid, "files are checked later"


def test_another_reference_leaves_the_name_of_a_row() -> None:
    row = Row("What is 9 * 9?", "81")
    assert dataclasses.replace(row, reference="80").uid == row.uid


def test_rows_are_drawn_by_their_names_whatever_their_order() -> None:
    rows = [Row(f"question {n}", "x", uid=f"u{n}") for n in range(30)]
    some = drawn(rows, 7, "a")
    assert len(some) == 7
    assert list(drawn(rows[::-1], 7, "a")) == list(some) != list(drawn(rows, 7, "b"))
    assert drawn(rows, 30, "a") is rows
