"""The weight store: owns published policy versions and pushes them to the pool.

What the learner publishes is owned here, so that it outlives the learner. A push runs
while generation and training go on; when versions are published faster than they can be
pushed, the newest one is pushed next.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from actors.messages import WeightUpdate


@dataclass(frozen=True)
class PushStatus:
    """Versions published so far, the last one pushed, seconds of each push."""

    published: int
    pushed: int
    push_seconds: list[float]


class WeightStore:
    """Async actor: the newest student for the generators, the newest teacher for the scorers."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self.student: WeightUpdate | None = None
        self.teacher: WeightUpdate | None = None
        self.pushed: WeightUpdate | None = None
        self.published = 0
        self.push_seconds: list[float] = []
        self.pushing: asyncio.Task[None] | None = None

    async def publish(self, student: WeightUpdate, teacher: WeightUpdate | None) -> None:
        """Take over a version and start pushing it; returns without waiting for the replicas.

        ``teacher`` is the adapter the scorers read with from now on; None keeps the one they have.
        Raises what stopped an earlier push.
        """
        if self.pushing is not None and self.pushing.done():
            ended, self.pushing = self.pushing, None
            await ended
        self.student, self.teacher = student, teacher or self.teacher
        self.published += 1
        if self.pushing is None or self.pushing.done():
            self.pushing = asyncio.create_task(self._push())

    async def _push(self) -> None:
        while self.student is not None and self.student is not self.pushed:
            update = self.student
            began = time.perf_counter()
            await self.pool.push.remote(update)
            self.push_seconds.append(time.perf_counter() - began)
            self.pushed = update

    async def wait_pushed(self, timeout: float) -> None:
        """Wait until the newest version has been pushed. Raises TimeoutError naming it."""
        if self.pushing is None:
            return
        try:
            await asyncio.wait_for(asyncio.shield(self.pushing), timeout)
        except TimeoutError:
            newest = self.student.version if self.student else 0
            raise TimeoutError(
                f"the generator pool did not reach version {newest} within {timeout:.0f} s"
            ) from None

    async def teacher_if_not(self, version: int) -> WeightUpdate | None:
        """The teacher's adapter, or None when the caller's ``version`` is already the newest."""
        if self.teacher is None or self.teacher.version == version:
            return None
        return self.teacher

    async def status(self) -> PushStatus:
        """What was published and pushed."""
        pushed = self.pushed.version if self.pushed else 0
        return PushStatus(self.published, pushed, list(self.push_seconds))
