from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unisd_core.evaluation import token_sums
from unisd_core.evaluation.bootstrap import row_bootstrap
from unisd_core.evaluation.token_sums import TokenSums

measured = st.lists(
    st.tuples(st.floats(-100, 100), st.integers(1, 50)), min_size=1, max_size=20
).map(lambda rows: TokenSums(*map(np.array, zip(*rows, strict=True))))


def test_long_rows_weigh_more_in_the_mean_and_unmeasured_ones_nothing() -> None:
    found = TokenSums(np.array([-1.0, 0.0, -9.0]), np.array([1, 0, 3]))
    assert found.mean == -2.5
    assert found.row_means_B[[0, 2]].tolist() == [-1.0, -3.0]
    assert math.isnan(found.row_means_B[1])


@given(measured, st.integers(0, 2**31))
def test_the_interval_lies_between_the_extreme_rows(found: TokenSums, seed: int) -> None:
    low, high = found.interval(50, seed)
    means_B = found.row_means_B
    assert means_B.min() - 1e-9 <= low <= high <= means_B.max() + 1e-9


@given(measured, st.floats(-5, 5), st.integers(0, 2**31))
def test_a_shift_of_every_token_shifts_the_interval(
    found: TokenSums, shift: float, seed: int
) -> None:
    shifted = TokenSums(found.sum_B + shift * found.tokens_B, found.tokens_B)
    expected = [bound + shift for bound in found.interval(50, seed)]
    assert shifted.interval(50, seed) == pytest.approx(expected, abs=1e-9)


@given(measured, st.integers(0, 2**31))
def test_rows_that_were_not_measured_do_not_move_the_interval(found: TokenSums, seed: int) -> None:
    padded = TokenSums(np.append(found.sum_B, 0.0), np.append(found.tokens_B, 0))
    assert padded.interval(50, seed) == found.interval(50, seed)


def test_of_rows_of_one_token_it_is_the_bootstrap_of_their_mean() -> None:
    change_B = np.random.default_rng(0).integers(-3, 4, 40)
    low, high = TokenSums(change_B.astype(float), np.ones(40, dtype=np.int64)).interval(300, 7)
    expected = row_bootstrap(change_B, 1, 300, 7)
    assert (low, high) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_draws_in_blocks_are_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    found = TokenSums(rng.normal(size=30), rng.integers(1, 9, 30))
    whole = found.interval(101, 3)
    monkeypatch.setattr(token_sums, "_INDICES_PER_BLOCK", 70)
    assert found.interval(101, 3) == whole


def test_the_interval_covers_the_true_ratio_about_95_times_in_100() -> None:
    rng = np.random.default_rng(1)
    rows, trials, covered = 120, 400, 0
    for trial in range(trials):
        # Long rows are more likely per token, so that a mean of row means would miss the ratio.
        tokens_B = rng.choice([5, 50], rows)
        mean_B = np.where(tokens_B == 5, -2.0, -1.0) + rng.normal(0, 0.5, rows)
        low, high = TokenSums(mean_B * tokens_B, tokens_B).interval(400, trial)
        covered += low <= (-2.0 * 5 - 1.0 * 50) / 55 <= high
    # Four standard errors of a share of 0.95 over 400 trials, plus the percentile method's bias.
    assert 0.90 <= covered / trials <= 0.99


@pytest.mark.parametrize("tokens", [[0, 0], [1], []])
def test_sums_must_be_of_tokens(tokens: list[int]) -> None:
    with pytest.raises(ValueError, match="tokens"):
        TokenSums(np.zeros(2), np.array(tokens, dtype=np.int64))
