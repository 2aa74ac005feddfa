from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unisd_core.common.errors import UserError
from unisd_core.evaluation.outcomes import Outcomes
from unisd_core.evaluation.scoreboard import render_scores, score_set


def outcomes(correct: list[list[bool]], categories: list[str] | None = None) -> Outcomes:
    right_BN = np.array(correct, dtype=bool)
    rows, samples = right_BN.shape
    return Outcomes(
        uids=[f"r{number}" for number in range(rows)],
        categories=categories or [""] * rows,
        completions=[["x"] * samples] * rows,
        finished_BN=np.ones_like(right_BN),
        extracted_BN=np.ones_like(right_BN),
        correct_BN=right_BN,
        parts=[[{}] * samples] * rows,
    )


@given(st.lists(st.booleans(), min_size=1, max_size=7), st.data())
def test_pass_at_k_is_the_share_of_subsets_with_a_right_answer(
    right: list[bool], data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(right)))
    subsets = list(itertools.combinations(right, k))
    naive = sum(any(subset) for subset in subsets) / len(subsets)
    found = score_set(outcomes([right]), None, pass_at=[k], resamples=100)
    assert found.pass_at[k].value == pytest.approx(naive)


def test_accuracy_is_pass_at_1_and_its_interval_holds_it() -> None:
    found = score_set(outcomes([[True, False], [True, True]] * 20), None, pass_at=[1, 2])
    assert found.accuracy == found.pass_at[1]
    assert found.accuracy.value == 0.75
    assert found.accuracy.low < 0.75 < found.accuracy.high
    assert found.pass_at[2].value == 1.0


def test_differences_are_paired_by_row() -> None:
    # Both are right on half of the rows; only pairing tells that each row gained or lost.
    ours, theirs = [[True], [False]] * 50, [[False], [True]] * 50
    same = score_set(outcomes(ours), outcomes(ours)).difference
    other = score_set(outcomes(ours), outcomes(theirs)).difference
    assert same is not None
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    assert other is not None
    assert other.value == 0.0
    assert other.low < 0 < other.high


def test_a_baseline_of_edited_rows_is_refused() -> None:
    ours, theirs = outcomes([[True]]), outcomes([[False]])
    assert score_set(replace(ours, rows_sha256="0f"), theirs).difference is not None
    with pytest.raises(UserError, match="the same names and other content"):
        score_set(replace(ours, rows_sha256="0f"), replace(theirs, rows_sha256="1e"))


def test_a_baseline_of_other_rows_is_refused() -> None:
    with pytest.raises(UserError, match="not the same 2"):
        score_set(outcomes([[True]] * 2), outcomes([[True]] * 3))


def test_more_answers_than_samples_cannot_be_counted() -> None:
    with pytest.raises(UserError, match="at least 2 samples"):
        score_set(outcomes([[True]]), None, pass_at=[2])


def test_categories_add_up_to_the_whole() -> None:
    found = score_set(outcomes([[True], [False], [True]], ["b", "a", "b"]), None)
    assert {name: (c.rows, c.accuracy) for name, c in found.categories.items()} == {
        "a": (1, 0.0),
        "b": (2, 1.0),
    }
    assert not score_set(outcomes([[True]] * 2, ["a", "a"]), None).categories


def test_the_table_shows_the_mean_over_the_sets_and_what_was_compared() -> None:
    one = score_set(outcomes([[True], [False]]), outcomes([[False], [False]]))
    other = score_set(outcomes([[True, True]] * 4), None, pass_at=[2])
    lines = render_scores({"one": one, "other": other}).splitlines()
    assert [line.split()[0] for line in lines] == ["test", "one", "other", "mean"]
    assert "to baseline" in lines[0]
    assert "+50.0" in lines[1]
    assert lines[3].split()[1] == "75.0"
