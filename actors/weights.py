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

from actors.messages import ReplicaReport, WeightUpdate


@dataclass(frozen=True)
class PushStatus:
    """Versions published so far, the one all replicas serve, seconds of each push, replica
    reports."""

    published: int
    synced: int
    push_seconds: list[float]
    replicas: list[ReplicaReport]


class WeightStore:
    """Async actor: the newest student for the generators, the newest teacher for the scorers."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self.student: WeightUpdate | None = None
        self.teacher: WeightUpdate | None = None
        self.pushed: WeightUpdate | None = None
        self.published = 0
        self.push_seconds: list[float] = []
        self.replicas: list[ReplicaReport] = []
        self.changed = asyncio.Condition()
        self.pushing: asyncio.Task[None] | None = None

    async def publish(self, student: WeightUpdate, teacher: WeightUpdate | None) -> None:
        """Take over a version and start pushing it; returns without waiting for the replicas.

        ``teacher`` is the adapter the scorers read with from now on; None for the base model.
        """
        async with self.changed:
            self.student, self.teacher = student, teacher
            self.published += 1
            if self.pushing is None or self.pushing.done():
                self.pushing = asyncio.create_task(self._push())
                self.pushing.add_done_callback(lambda _: asyncio.ensure_future(self._wake()))

    async def _push(self) -> None:
        while self.student is not self.pushed:
            update = self.student
            began = time.perf_counter()
            reports = await self.pool.push.remote(update)
            self.push_seconds.append(time.perf_counter() - began)
            self.replicas, self.pushed = reports, update

    async def _wake(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def wait_synced(self, timeout: float) -> list[ReplicaReport]:
        """Wait until every replica serves the newest version. Raises TimeoutError naming it."""

        async def done() -> None:
            async with self.changed:
                await self.changed.wait_for(lambda: self.pushing is None or self.pushing.done())

        try:
            await asyncio.wait_for(done(), timeout)
        except TimeoutError:
            newest = self.student.version if self.student else 0
            raise TimeoutError(
                f"the generator pool did not reach version {newest} within {timeout:.0f} s"
            ) from None
        if self.pushing is not None:
            await self.pushing  # raises what stopped the push
        return self.replicas

    async def teacher_if_not(self, version: int) -> WeightUpdate | None:
        """The teacher's adapter, or None when the caller's ``version`` is already the newest."""
        if self.teacher is None or self.teacher.version == version:
            return None
        return self.teacher

    async def status(self) -> PushStatus:
        """What was published and what the replicas say they serve."""
        synced = self.pushed.version if self.pushed else 0
        return PushStatus(self.published, synced, list(self.push_seconds), self.replicas)
