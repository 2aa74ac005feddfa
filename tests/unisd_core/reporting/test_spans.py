from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unisd_core.reporting.spans import busy_seconds, merged

SPANS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 9)).map(lambda span: (span[0], sum(span)))
)


def covered(spans: list[tuple[int, int]]) -> set[int]:
    return {second for begin, end in spans for second in range(begin, end)}


@given(SPANS)
def test_the_same_seconds_are_covered_once_and_in_order(spans):
    found = merged(spans)
    assert covered(found) == covered(spans)
    assert busy_seconds(spans) == len(covered(spans))
    assert all(one[1] < two[0] for one, two in zip(found, found[1:], strict=False))


def test_spans_that_touch_become_one():
    assert merged([(2.0, 3.0), (1.0, 2.0)]) == [(1.0, 3.0)]
    assert busy_seconds([]) == pytest.approx(0)
