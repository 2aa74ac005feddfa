"""The autoscaler's decisions; test_lifecycle.py has what the pool makes of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.admission.idle_time import IdleShares
from actors.generator.autoscaler import WAITS, explain, wanted_change

share = st.floats(0, 1)


@given(share, share, st.integers(1, 9), st.integers(0, 2), st.integers(1, 4), st.integers(4, 9))
def test_the_number_stays_in_its_bounds_and_follows_who_waits(
    learner: float, generators: float, replicas: int, joining: int, least: int, most: int
) -> None:
    change = wanted_change(IdleShares(learner, generators, 60), replicas, joining, least, most)
    assert change in (-1, 0, 1)
    if change > 0:
        assert replicas < most and learner >= WAITS and not joining
    if change < 0:
        assert replicas > least and generators >= WAITS and not joining
    if learner >= WAITS and generators == 0 and not joining:
        assert change == (replicas < most)


def test_the_explanation_names_both_shares_and_the_time_they_are_of() -> None:
    assert explain(IdleShares(0.9, 0.04, 60.2)) == (
        "in 60 s the learner waited 90% of the time, the generators 4%"
    )
