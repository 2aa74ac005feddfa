"""Fuzz harness: an input must return in time, or raise a UserError that says where it is wrong.

Inputs are counted by kind; ``conftest.py`` prints the counts.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import ParamSpec, TypeVar

from hypothesis import HealthCheck, settings

from unisd_core.common.errors import UserError

P = ParamSpec("P")
T = TypeVar("T")

COUNTS: Counter[str] = Counter()
"""Inputs given so far, by kind."""

CPU_LIMIT_S = 4.0
"""Of CPU time, so that a busy machine makes no input a hang; reading takes milliseconds."""
WALL_LIMIT_S = 120.0
"""For an input that waits instead of computing."""


class _Hang(BaseException):
    """No Exception: code that catches those must not be able to go on."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Hang


@contextmanager
def bounded() -> Iterator[None]:
    """Turns a body that does not end in time into an AssertionError."""
    clocks = (
        (signal.ITIMER_PROF, signal.SIGPROF, CPU_LIMIT_S),
        (signal.ITIMER_REAL, signal.SIGALRM, WALL_LIMIT_S),
    )
    before = [signal.signal(number, _stop) for _, number, _ in clocks]
    for clock, _, limit in clocks:
        signal.setitimer(clock, limit)
    try:
        yield
    except _Hang:
        raise AssertionError(f"hangs: more than {CPU_LIMIT_S} s of CPU time") from None
    finally:
        for (clock, number, _), handler in zip(clocks, before, strict=True):
            signal.setitimer(clock, 0)
            signal.signal(number, handler)


def fuzz(inputs: int) -> settings:
    """Settings of a test with about this many inputs in CI; the profile says how many more."""
    scale = settings.default.max_examples / settings.get_profile("default").max_examples
    return settings(
        max_examples=max(1, round(inputs * scale)), suppress_health_check=list(HealthCheck)
    )


def always(kind: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of ``call``, which must neither raise nor hang."""
    COUNTS[kind] += 1
    with bounded():
        return call(*args, **kwargs)


def accepted(kind: str, names: Sequence[object], call: Callable[[], T]) -> T | None:
    """The result of ``call``, or None where it refused its input with a UserError that names one
    of ``names`` (files, keys)."""
    COUNTS[kind] += 1
    try:
        with bounded():
            return call()
    except UserError as error:
        check_message(error, names)
        return None


def check_message(error: UserError, names: Sequence[object]) -> None:
    """A line that a person can use: it says where, and is no dump of the input."""
    message = str(error)
    line = " ".join(message.split())
    assert line, "a UserError without a message"
    assert "Traceback" not in line, line
    assert any(str(name) in message for name in names), f"names none of {names}: {line}"
    assert len(line) <= LONGEST_LINE, f"{len(line)} characters: {line[:200]}"


LONGEST_LINE = 4000


def well_formed(parts: Sequence[str]) -> None:
    """Raise where a text is one that UTF-8 cannot hold: it would fail later, in the tokenizer or
    in Arrow."""
    for part in parts:
        part.encode("utf-8")
