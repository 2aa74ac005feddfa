"""Random tool calls, and readers of them on text of any length."""

from __future__ import annotations

import time
from collections.abc import Callable

from hypothesis import strategies as st

from unisd_core.tasks.reading.call import Call, Reading

_names = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)
_values = st.one_of(
    st.text(), st.booleans(), st.integers(), st.floats(allow_nan=False, width=32)
).filter(lambda value: not isinstance(value, float) or abs(value) < float("inf"))
calls_lists = st.lists(
    st.builds(Call, _names, st.dictionaries(_names, _values, max_size=4)), min_size=1, max_size=3
)
"""One to three calls with arguments of every plain type."""


def check_reads_anything(read: Callable[[str], Reading], text: str) -> None:
    """``read`` does not raise, and calls nothing clean that holds no call."""
    reading = read(text)
    assert reading.calls or not reading.clean


def check_linear(read: Callable[[str], Reading], text: str) -> None:
    """``read`` takes seconds for ``text``, which is long; a quadratic reader would take minutes."""
    start = time.process_time()
    read(text)
    assert time.process_time() - start < 5
