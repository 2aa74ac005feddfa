"""Waiting for remote answers: never without a limit, never without a name."""

from __future__ import annotations

from typing import Any

import ray
from ray.exceptions import GetTimeoutError

ANSWER_S = 300.0
"""Longest wait for an actor that only passes messages."""


def ask(reference: Any, who: str, timeout: float = ANSWER_S) -> Any:
    """The value of ``reference``. Raises TimeoutError naming ``who`` after ``timeout`` seconds."""
    try:
        return ray.get(reference, timeout=timeout)
    except GetTimeoutError:
        raise TimeoutError(f"{who} did not answer within {timeout:.0f} s") from None


def first_line(error: BaseException) -> str:
    """What an error says, in one line: the last of a remote traceback, which names the cause."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1].strip()}" if lines else type(error).__name__
