"""An event loop whose clock jumps: where all tasks sleep, it goes to the time at which the first
one wakes, so that time limits can be tested to the second without waiting."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class JumpingClock(asyncio.SelectorEventLoop):
    """Begins at 0 seconds. Nothing outside of the loop may be waited for."""

    def __init__(self) -> None:
        self.now = 0.0
        selector = selectors.SelectSelector()
        look = selector.select

        def select(timeout: float | None = None) -> Any:
            assert timeout is not None, "all tasks wait for each other"
            self.now += timeout
            return look(0)

        selector.select = select  # type: ignore[method-assign]
        super().__init__(selector)

    def time(self) -> float:
        return self.now


def seconds_of(work: Coroutine[Any, Any, None]) -> float:
    """Do ``work``; returns the seconds that it took by its own clock."""
    loop = JumpingClock()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(work)
        return loop.now
