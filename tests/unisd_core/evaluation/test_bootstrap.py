from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unisd_core.evaluation import bootstrap
from unisd_core.evaluation.bootstrap import paired_bootstrap

outcomes = st.integers(1, 60).flatmap(
    lambda size: st.tuples(hnp.arrays(np.bool_, size), hnp.arrays(np.bool_, size))
)


@settings(max_examples=50)
@given(outcomes, st.integers(0, 2**31))
def test_exchanging_the_arguments_negates_the_interval(
    pair: tuple[np.ndarray, np.ndarray], seed: int
) -> None:
    base_B, final_B = pair
    there = paired_bootstrap(base_B, final_B, 200, seed)
    back = paired_bootstrap(final_B, base_B, 200, seed)
    assert there.difference == pytest.approx(-back.difference, abs=1e-12)
    assert there.low == pytest.approx(-back.high, abs=1e-12)
    assert there.high == pytest.approx(-back.low, abs=1e-12)


@given(hnp.arrays(np.bool_, st.integers(1, 60)))
def test_equal_outcomes_give_an_interval_without_width(base_B: np.ndarray) -> None:
    found = paired_bootstrap(base_B, base_B.copy(), 100, 0)
    assert (found.difference, found.low, found.high) == (0.0, 0.0, 0.0)


def test_the_interval_covers_the_true_difference_about_95_times_in_100() -> None:
    rng = np.random.default_rng(1)
    rows, trials, covered = 150, 400, 0
    for trial in range(trials):
        base_B = rng.random(rows) < 0.5
        # Gains in 30 % of the failures and losses in 10 % of the successes: +0.10 in truth.
        changed_B = rng.random(rows) < np.where(base_B, 0.1, 0.3)
        found = paired_bootstrap(base_B, base_B ^ changed_B, 500, trial)
        covered += found.low <= 0.1 <= found.high
    # Four standard errors of a share of 0.95 over 400 trials, plus the percentile method's bias.
    assert 0.90 <= covered / trials <= 0.99


def test_rows_are_resampled_in_pairs() -> None:
    base_B = np.arange(200) % 2 == 0
    final_B = base_B.copy()
    final_B[:10] = True
    found = paired_bootstrap(base_B, final_B, 2000, 0)
    # Unpaired, the noise of 200 coin flips on each side would give a width near 0.2.
    assert found.high - found.low < 0.08
    assert found.difference == pytest.approx(5 / 200)


def test_the_result_does_not_depend_on_how_much_memory_a_block_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base_B = np.arange(50) % 3 == 0
    final_B = np.arange(50) % 2 == 0
    whole = paired_bootstrap(base_B, final_B, 301, 5)
    monkeypatch.setattr(bootstrap, "_INDICES_PER_BLOCK", 400)
    assert paired_bootstrap(base_B, final_B, 301, 5) == whole


@pytest.mark.parametrize(("base", "final"), [([], []), ([True], [True, False])])
def test_outcomes_that_cannot_be_paired_are_refused(base: list[bool], final: list[bool]) -> None:
    with pytest.raises(ValueError, match="equally long"):
        paired_bootstrap(np.array(base, dtype=bool), np.array(final, dtype=bool), 100, 0)
