"""Learners that were replaced are refused, whatever they know."""

from __future__ import annotations

import pytest

from actors.runtime.learner_fence import LearnerFence


def test_each_incarnation_is_later_than_all_that_may_still_live() -> None:
    fence = LearnerFence([].append)
    assert [fence.begin(0), fence.begin(0), fence.begin(7), fence.begin(3)] == [1, 2, 8, 9]
    assert LearnerFence([].append, floor=1000).begin(8) == 1001


def test_an_older_incarnation_is_refused_and_told() -> None:
    told: list[str] = []
    fence = LearnerFence(told.append)
    fence.begin(4)
    fence.check(5, "a step")
    with pytest.raises(
        RuntimeError, match="a step was refused: learners of incarnation 4 were replaced"
    ):
        fence.check(4, "a step")
    assert told == [
        "a step was refused: learners of incarnation 4 were replaced by those of incarnation 5"
    ]


def test_whoever_began_elsewhere_is_noticed() -> None:
    fence = LearnerFence([].append)
    fence.check(3, "version 1")
    with pytest.raises(RuntimeError, match="those of incarnation 3"):
        fence.check(2, "version 9")
