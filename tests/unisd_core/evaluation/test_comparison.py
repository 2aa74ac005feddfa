from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unisd_core.common.errors import UserError
from unisd_core.evaluation.bootstrap import paired_bootstrap
from unisd_core.evaluation.comparison import (
    Comparison,
    ResultLine,
    SetOutcome,
    compare,
    pack_outcomes,
    render_markdown,
    rows_digest,
    unpack_outcomes,
)

RESAMPLES = 200


def outcome(base_B: np.ndarray, final_B: np.ndarray, digest: str = "") -> SetOutcome:
    return SetOutcome(
        rows=base_B.size,
        base=base_B.mean(),
        final=final_B.mean(),
        base_bits=pack_outcomes(base_B),
        final_bits=pack_outcomes(final_B),
        rows_sha256=digest or rows_digest(map(str, range(base_B.size))),
    )


def line(label: str, seed: int, base_B: np.ndarray, final_B: np.ndarray, **kw: str) -> ResultLine:
    return ResultLine(
        key=f"{label}-{seed}",
        label=label,
        preset=label,
        seed=seed,
        steps=1,
        batch=1,
        test_sets={"set": outcome(base_B, final_B, **kw)},
        seconds=1.0,
        tokens={},
        mechanisms={},
        versions={},
    )


def find(lines: list[ResultLine], label: str, reference: str | None = None) -> Comparison:
    table = compare(lines, reference, resamples=RESAMPLES)
    return next(found for found in table["set"] if found.label == label)


def table_of(seeds: int) -> st.SearchStrategy[np.ndarray]:
    """Outcomes (3, seeds, B): base, one method, another method."""
    return st.integers(1, 30).flatmap(lambda rows: hnp.arrays(np.bool_, (3, seeds, rows)))


several = st.integers(1, 3).flatmap(table_of)


def lines_of(outcomes_3SB: np.ndarray) -> list[ResultLine]:
    base_SB, a_SB, b_SB = outcomes_3SB
    seeds = range(len(base_SB))
    return [line("a", s, base_SB[s], a_SB[s]) for s in seeds] + [
        line("b", s, base_SB[s], b_SB[s]) for s in seeds
    ]


@settings(deadline=None)
@given(hnp.arrays(np.bool_, st.integers(1, 100)))
def test_packed_outcomes_are_read_back(correct_B: np.ndarray) -> None:
    assert (unpack_outcomes(pack_outcomes(correct_B), correct_B.size) == correct_B).all()


def test_bits_of_another_number_of_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot hold 17"):
        unpack_outcomes(pack_outcomes(np.ones(16, dtype=bool)), 17)


@settings(max_examples=40, deadline=None)
@given(several)
def test_identical_outcomes_differ_by_exactly_nothing(outcomes_3SB: np.ndarray) -> None:
    outcomes_3SB[2] = outcomes_3SB[1]
    against = find(lines_of(outcomes_3SB), "b", "a").against
    assert against is not None
    assert (against.difference, against.low, against.high) == (0.0, 0.0, 0.0)


@settings(max_examples=40, deadline=None)
@given(several)
def test_exchanging_method_and_reference_negates_the_difference(outcomes_3SB: np.ndarray) -> None:
    lines = lines_of(outcomes_3SB)
    there, back = find(lines, "a", "b").against, find(lines, "b", "a").against
    assert there is not None and back is not None
    assert there.difference == pytest.approx(-back.difference, abs=1e-12)
    assert there.low == pytest.approx(-back.high, abs=1e-12)
    assert there.high == pytest.approx(-back.low, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(table_of(1))
def test_one_seed_gives_the_paired_bootstrap(outcomes_3SB: np.ndarray) -> None:
    base_B, a_B, b_B = outcomes_3SB[:, 0]
    found = find(lines_of(outcomes_3SB), "a", "b")
    assert found.gain == paired_bootstrap(base_B, a_B, RESAMPLES, 0)
    assert found.against == paired_bootstrap(b_B, a_B, RESAMPLES, 0)


@settings(max_examples=40, deadline=None)
@given(table_of(1), st.integers(2, 4))
def test_repeating_a_seed_does_not_narrow_the_interval(
    outcomes_3SB: np.ndarray, copies: int
) -> None:
    once = find(lines_of(outcomes_3SB), "a", "b")
    often = find(lines_of(np.repeat(outcomes_3SB, copies, axis=1)), "a", "b")
    assert often.gain.low == pytest.approx(once.gain.low, abs=1e-12)
    assert often.gain.high == pytest.approx(once.gain.high, abs=1e-12)
    assert often.against is not None and once.against is not None
    assert often.against.low == pytest.approx(once.against.low, abs=1e-12)


def test_seeds_that_both_have_are_paired_and_others_left_out() -> None:
    none, every = np.zeros(10, dtype=bool), np.ones(10, dtype=bool)
    lines = [line("a", 0, none, every), line("b", 0, none, every), line("b", 1, none, none)]
    against = find(lines, "a", "b").against
    assert against is not None and against.difference == 0.0


def test_without_a_shared_seed_the_means_are_compared() -> None:
    none, every = np.zeros(10, dtype=bool), np.ones(10, dtype=bool)
    lines = [line("a", 0, none, every), line("b", 1, none, every), line("b", 2, none, none)]
    against = find(lines, "a", "b").against
    assert against is not None
    assert (against.difference, against.low, against.high) == (0.5, 0.5, 0.5)


def test_mean_and_spread_are_over_the_seeds() -> None:
    none, every = np.zeros(10, dtype=bool), np.ones(10, dtype=bool)
    found = find([line("a", 0, none, every), line("a", 1, none, none)], "a")
    assert (found.seeds, found.final, found.spread) == ((0, 1), 0.5, (0.0, 1.0))
    assert found.against is None


def test_the_last_line_of_a_label_and_seed_counts() -> None:
    none, every = np.zeros(10, dtype=bool), np.ones(10, dtype=bool)
    # The older line may even be of other rows.
    found = find([line("a", 0, none, none, digest="old"), line("a", 0, none, every)], "a")
    assert (found.seeds, found.final) == ((0,), 1.0)


def test_lines_of_different_rows_are_refused() -> None:
    row_B = np.ones(10, dtype=bool)
    with pytest.raises(UserError, match=r"set: b \(seed 3\) and a \(seed 0\).*different rows"):
        compare([line("a", 0, row_B, row_B), line("b", 3, row_B, row_B, digest="x")], None)


def test_the_table_in_markdown() -> None:
    none, every = np.zeros(10, dtype=bool), np.ones(10, dtype=bool)
    lines = [line("b", 0, none, none), line("a", 0, none, every), line("a", 1, none, every)]
    table = compare(lines, "b", order=["a", "b"], resamples=RESAMPLES)
    rows = render_markdown(table, "b").splitlines()
    assert rows[0] == "**set**"
    assert rows[4] == (
        "| a | 2 | 0.0 % | 100.0 % | 100.0 - 100.0 | +100.0 [+100.0, +100.0] "
        "| +100.0 [+100.0, +100.0] |"
    )
    assert rows[5] == "| b | 1 | 0.0 % | 0.0 % | | +0.0 [+0.0, +0.0] | |"


def test_lines_of_rows_that_were_edited_in_between_are_refused() -> None:
    row_B = np.ones(10, dtype=bool)

    def of(label: str, content: str) -> ResultLine:
        made = line(label, 0, row_B, row_B)
        test_set = made.test_sets["set"].model_copy(update={"content_sha256": content})
        return made.model_copy(update={"test_sets": {"set": test_set}})

    compare([of("old", ""), of("a", "0f"), of("b", "0f")], "a", resamples=100)
    with pytest.raises(UserError, match=r"b \(seed 0\) and a \(seed 0\).*different rows"):
        compare([of("old", ""), of("a", "0f"), of("b", "1e")], "a", resamples=100)
