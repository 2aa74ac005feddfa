from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unisd_core.config.method import AgreementConfig
from unisd_core.objective.agreement import (
    Array,
    agreement_weights,
    mean_token_agreement,
    row_agreement_filter,
)


def batch(rows: int = 6, K: int = 3, seed: int = 0, shortest: int = 1) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [
        -rng.gamma(1.0, 1.0 + b, size=(K, int(rng.integers(shortest, 12)))) for b in range(rows)
    ]


settings_of = st.builds(
    AgreementConfig,
    level=st.sampled_from(["token", "sequence"]),
    statistic=st.sampled_from(["var", "range"]),
    gamma=st.floats(0.0, 20.0),
    quantile=st.floats(0.01, 1.0),
    cap=st.floats(0.1, 100.0),
    floor=st.floats(0.001, 1.0),
    scale=st.sampled_from(["batch", "running"]),
    running_rate=st.floats(0.0, 0.99),
)
previous_scales = st.none() | st.floats(0.0, 1e3)


def test_token_weights_by_hand() -> None:
    # Two views: the unbiased variance is half the squared difference.
    rows = [np.array([[0.0, 0.0], [0.0, -2.0]]), np.array([[-1.0], [-5.0]])]
    got = agreement_weights(rows, AgreementConfig(quantile=1.0, gamma=1.0))
    assert got.scale == 8.0 and got.mean_disagreement == pytest.approx(10 / 3)
    np.testing.assert_allclose(got.token_weights[0], [1.0, 1 / (1 + 2 / 8)])
    np.testing.assert_allclose(got.token_weights[1], [0.5])
    spread = agreement_weights(rows, AgreementConfig(quantile=1.0, gamma=1.0, statistic="range"))
    np.testing.assert_allclose(spread.token_weights[0], [1.0, 1 / (1 + 2 / 4)])


def test_sequence_weights_by_hand() -> None:
    rows = [np.array([[-1.0, -3.0], [-1.0, -3.0]]), np.array([[-1.0], [-3.0]])]
    got = agreement_weights(rows, AgreementConfig(level="sequence", gamma=1.0))
    raw = np.array([1.0, np.exp(-1.0)])  # biased variance of (-1, -3) is 1
    np.testing.assert_allclose(got.sequence_weight, raw / raw.mean())
    assert all((w == 1).all() for w in got.token_weights)


def test_cap_and_floor_bound_an_outlier() -> None:
    rows = [np.zeros((2, 99)), np.array([[0.0], [-1e3]])]
    capped = agreement_weights(rows, AgreementConfig(cap=10.0, floor=0.01, gamma=1.0))
    assert capped.token_weights[1][0] == pytest.approx(1 / 11)
    floored = agreement_weights(rows, AgreementConfig(cap=1e9, floor=0.2, gamma=1.0))
    assert floored.token_weights[1][0] == 0.2


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_a_lone_view_weighs_everything_alike(level: Any) -> None:
    got = agreement_weights(batch(K=1), AgreementConfig(level=level, gamma=5.0))
    assert all((w == 1).all() for w in got.token_weights)
    assert (got.sequence_weight == 1).all()
    assert (mean_token_agreement(batch(K=1), AgreementConfig()) == 1).all()


def test_off_weighs_everything_alike() -> None:
    got = agreement_weights(batch(), AgreementConfig(level="off"))
    assert all((w == 1).all() for w in got.token_weights)
    assert (got.sequence_weight == 1).all()


@settings(max_examples=50, deadline=None)
@given(settings_of, st.integers(1, 5), st.integers(0, 10**6), previous_scales)
def test_identical_views_agree_fully(
    config: AgreementConfig, K: int, seed: int, previous: float | None
) -> None:
    rows = [np.repeat(row[:1], K, axis=0) for row in batch(seed=seed)]
    got = agreement_weights(rows, config, previous)
    for weight in got.token_weights:
        np.testing.assert_allclose(weight, 1.0, rtol=1e-9)
    np.testing.assert_allclose(got.sequence_weight, 1.0, rtol=1e-9)


@settings(max_examples=80, deadline=None)
@given(settings_of, st.integers(1, 5), st.integers(0, 10**6), previous_scales)
def test_ranges(config: AgreementConfig, K: int, seed: int, previous: float | None) -> None:
    rows = batch(K=K, seed=seed, shortest=0)
    got = agreement_weights(rows, config, previous)
    for row, weight in zip(rows, got.token_weights, strict=True):
        assert weight.shape == (row.shape[1],)
        assert np.all((weight >= config.floor) & (weight <= 1.0))
    assert got.sequence_weight.mean() == pytest.approx(1.0)
    assert np.all(got.sequence_weight > 0)


@settings(max_examples=50, deadline=None)
@given(settings_of, st.integers(0, 10**6), st.randoms())
def test_row_order_does_not_matter(config: AgreementConfig, seed: int, random: Any) -> None:
    rows = batch(seed=seed)
    order = list(range(len(rows)))
    random.shuffle(order)
    plain = agreement_weights(rows, config)
    shuffled = agreement_weights([rows[i] for i in order], config)
    assert shuffled.scale == plain.scale
    assert shuffled.mean_disagreement == plain.mean_disagreement
    for position, index in enumerate(order):
        np.testing.assert_array_equal(shuffled.token_weights[position], plain.token_weights[index])
        assert shuffled.sequence_weight[position] == plain.sequence_weight[index]


def test_the_scale_is_the_whole_batch_s() -> None:
    rows = batch(rows=8)
    whole = agreement_weights(rows, AgreementConfig())
    halves = [agreement_weights(half, AgreementConfig()) for half in (rows[:4], rows[4:])]
    assert halves[0].scale < whole.scale < halves[1].scale


def test_the_running_scale_averages_over_batches() -> None:
    rows, config = batch(), AgreementConfig(scale="running", running_rate=0.9)
    alone = agreement_weights(rows, AgreementConfig())
    first = agreement_weights(rows, config)
    assert first.scale == alone.scale
    later = agreement_weights(rows, config, previous_scale=5 * alone.scale)
    assert later.scale == pytest.approx(4.6 * alone.scale)
    assert all(
        np.all(after >= before)
        for after, before in zip(later.token_weights, first.token_weights, strict=True)
    )
    assert later.token_weights[0].min() > first.token_weights[0].min()
    ignored = agreement_weights(rows, AgreementConfig(), previous_scale=5 * alone.scale)
    assert ignored.scale == alone.scale
    empty = agreement_weights([np.zeros((3, 0))], config, previous_scale=2.0)
    assert empty.scale == pytest.approx(2.0)
    lone = agreement_weights(batch(K=1), config, previous_scale=2.0)
    assert all((w == 1).all() for w in lone.token_weights)


def test_the_row_filter_drops_those_that_agree_least() -> None:
    agreement = np.array([0.9, 0.2, 0.5, 0.2, 0.7])
    assert row_agreement_filter(agreement, 0.19).all()
    assert row_agreement_filter(agreement, 0.2).tolist() == [True, False, True, True, True]
    assert row_agreement_filter(agreement, 0.79).tolist() == [True, False, False, False, True]
    assert row_agreement_filter(np.ones(100), 0.29).sum() == 71
    assert row_agreement_filter(np.ones(0), 0.5).tolist() == []
    with pytest.raises(ValueError, match="lowest_share"):
        row_agreement_filter(agreement, 1.0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.0, 1.0), max_size=20), st.floats(0.0, 0.99))
def test_no_dropped_row_agrees_more_than_a_kept_one(values: list[float], share: float) -> None:
    agreement = np.array(values)
    kept = row_agreement_filter(agreement, share)
    assert abs((~kept).sum() - share * len(values)) < 1 + 1e-6
    if not kept.all():
        assert agreement[~kept].max() <= agreement[kept].min()


def test_more_disagreement_never_weighs_more() -> None:
    rows = [np.array([[0.0] * 20, list(-np.linspace(0, 3, 20))])]
    weights = agreement_weights(rows, AgreementConfig(gamma=2.0)).token_weights[0]
    assert np.all(np.diff(weights) <= 0) and weights[-1] < weights[0]


def test_the_filter_s_statistic_ignores_level_and_gamma() -> None:
    rows = batch()
    expected = [
        w.mean()
        for w in agreement_weights(rows, AgreementConfig(level="token", gamma=1.0)).token_weights
    ]
    got = mean_token_agreement(rows, AgreementConfig(level="sequence", gamma=7.0))
    np.testing.assert_array_equal(got, expected)
    assert mean_token_agreement([np.zeros((3, 0))], AgreementConfig())[0] == 1.0


def test_faults_name_their_row() -> None:
    rows = batch()
    rows[2][1, 0] = np.nan
    with pytest.raises(ValueError, match="row 2.*not finite"):
        agreement_weights(rows, AgreementConfig())
    rows = batch()
    rows[4] = rows[4][:2]
    with pytest.raises(ValueError, match="row 4.*shape"):
        agreement_weights(rows, AgreementConfig())
