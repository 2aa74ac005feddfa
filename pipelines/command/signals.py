"""Signals that stop a run: Ctrl-C, or the SIGTERM of a preemption notice or of ``ray job stop``."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """The run was told to stop and did; the message says what is saved and how to go on."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


class StopRequest:
    """Set once the process was told to stop; ``asked`` can be waited for."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.number = signal.SIGTERM

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """Inside, a first signal only sets ``asked``; a second one interrupts at once."""
        names = (signal.SIGINT, signal.SIGTERM)
        before: dict[int, Any] = {name: signal.signal(name, self._note) for name in names}
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.asked.is_set():
            raise Interrupted(number, "interrupted")
        self.number = signal.Signals(number)
        self.asked.set()


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, a SIGTERM ends the process as Ctrl-C does: actors are ended and a line is shown."""

    def interrupt(number: int, _: FrameType | None) -> None:
        raise Interrupted(number, "interrupted")

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
