"""The stand-in answers as pytest does."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest

from unisd_core.tasks.code.suites import stand_in

VALUES = [0, 1, -1, 1.0000001, 1.00001, 1e-13, 1e-11, math.inf, -math.inf, math.nan, 1j, None, "x",
          [1], [1.0000001], (1,), [1, 2], {"a": 1}, {"a": 1.0000001}, {"b": 1}]  # fmt: skip
BOUNDS: list[dict[str, float]] = [{}, {"abs": 1e-3}, {"rel": 1e-3}, {"rel": 1e-3, "abs": 1e-9}]


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("expected", VALUES)
def test_approx_is_that_of_pytest(expected: Any, bounds: dict[str, float]) -> None:
    if expected is None or isinstance(expected, str):
        bounds = {}
    for found in VALUES:
        if isinstance(expected, list | tuple) and type(found) is not type(expected):
            continue  # Which kinds of sequence are equal has changed between versions.
        wanted = found == pytest.approx(expected, **bounds)
        assert (found == stand_in.approx(expected, **bounds)) == wanted, (found, expected)


def test_raises_takes_a_block_or_a_call() -> None:
    with stand_in.raises((ValueError, KeyError), match=r"^a\d$") as caught:
        raise ValueError("a1")
    assert caught.type is ValueError and str(caught.value) == "a1"
    assert isinstance(stand_in.raises(ValueError, int, "x").value, ValueError)


def test_raises_fails_where_nothing_or_something_else_is_raised() -> None:
    with pytest.raises(stand_in.Failed, match="did not raise"):
        stand_in.raises(ValueError, int, "1")
    with (
        pytest.raises(stand_in.Failed, match="does not match"),
        stand_in.raises(ValueError, match="b"),
    ):
        raise ValueError("a")
    with pytest.raises(KeyError), stand_in.raises(ValueError):
        raise KeyError
    with pytest.raises(stand_in.Failed), contextlib.suppress(Exception):
        stand_in.fail("no")


def test_parameters_of_several_marks_are_combined() -> None:
    @stand_in.mark.parametrize("a", [1, (2, 3), stand_in.param(4, id="four")])
    @stand_in.mark.slow
    @stand_in.mark.parametrize("b, c", [(5, 6), stand_in.param(7, 8)])
    def test(a: Any, b: int, c: int) -> None:
        raise AssertionError

    found = [tuple(case.items()) for case in test.cases]
    assert len(found) == len(set(found)) == 6
    assert {dict(case)["a"] for case in found} == {1, (2, 3), 4}
    with pytest.raises(ValueError, match="2 values for 'a'"):
        stand_in.mark.parametrize("a", [stand_in.param(1, 2)])(test)
