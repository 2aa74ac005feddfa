"""The places of the pool's replicas: who is ready, at which version, and who waits for one."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actors.generator.types import ReplicaReport
from actors.runtime.metrics import record


@dataclass
class Slot:
    """Place of one replica; the actor in it may change."""

    index: int
    actor: Any = None
    version: int = -1
    running: int = 0
    """Requests it has been given and not answered."""
    ready: bool = False
    abandoned: bool = False
    """It could not be filled again; the others do its work until it can."""
    joining: bool = False
    """It was added while the run goes on and has not had a replica yet."""
    leaving: bool = False
    """It gets no more requests and goes when those it has are answered."""
    lost_at: float | None = None
    """Time of the event loop at which its replica was lost; None while it has one."""
    progress: int = -1
    """Engine steps at the last look, and since when (loop time) there have been no more."""
    idle_since: float = 0.0


class Slots:
    """All places and the condition under which they change.

    ``stall_timeout_s`` is the longest wait for a replica, in seconds.
    """

    def __init__(self, count: int, stall_timeout_s: float) -> None:
        self.all: list[Slot] = []
        self.stall_timeout_s = stall_timeout_s
        self._numbers = itertools.count()
        for _ in range(count):
            self.add(joining=False)
        self.changed = asyncio.Condition()
        self.failure: str | None = None

    def ready(self, min_version: int = -1) -> list[Slot]:
        """Places that may be given requests which need ``min_version``."""
        return [
            slot
            for slot in self.all
            if slot.ready and not slot.leaving and slot.version >= min_version
        ]

    def add(self, joining: bool) -> Slot:
        """One more place; a ``joining`` one is not waited for."""
        slot = Slot(next(self._numbers), joining=joining)
        self.all.append(slot)
        return slot

    async def remove(self, slot: Slot) -> None:
        """Take a place away; nobody waits for it any more."""
        async with self.changed:
            self.all.remove(slot)
            slot.ready = False
            record("replicas_ready", len(self.ready()))
            self.changed.notify_all()

    async def drained(self, slot: Slot) -> None:
        """Give ``slot`` no more requests and return when it has answered those it has."""
        async with self.changed:
            slot.leaving = True
            await self.until(
                lambda: slot.running == 0 or not slot.ready,
                lambda: f"replica {slot.index} still works on {slot.running} requests",
            )

    async def acquire(self, min_version: int, load: int) -> Slot:
        """The ready place with the fewest requests, with ``load`` more. Waits for one.

        The first to have a new version does not get everybody's work: a place takes no more than
        ``load`` above the one with the fewest requests, whose version is on its way.

        Raises RuntimeError when a replica is lost for good, TimeoutError with the versions they
        are at."""
        async with self.changed:
            await self.until(
                lambda: self._next(min_version, load) is not None,
                lambda: (
                    f"no generator replica reached version {min_version} "
                    f"(they are at {[slot.version for slot in self.all]})"
                ),
            )
            slot = self._next(min_version, load)
            assert slot is not None
            slot.running += load
            return slot

    def _next(self, min_version: int, load: int) -> Slot | None:
        new_enough = self.ready(min_version)
        if not new_enough:
            return None
        slot = min(new_enough, key=lambda slot: (slot.running, slot.index))
        least = min(other.running for other in self.ready())
        return slot if slot.running < least + load else None

    async def release(self, slot: Slot, actor: Any, load: int) -> None:
        """``actor`` has answered, or never will."""
        async with self.changed:
            if slot.actor is actor:
                slot.running -= load
            self.changed.notify_all()

    def open(self, slot: Slot, report: ReplicaReport) -> None:
        """Give ``slot`` requests from now on. Under the lock."""
        slot.version, slot.ready = report.version, True
        slot.abandoned = slot.joining = False
        slot.progress, slot.lost_at = -1, None
        self.failure = None
        self.changed.notify_all()
        record("replicas_ready", len(self.ready()))

    def close(self, slot: Slot) -> None:
        """No more requests for ``slot``; its replica is lost."""
        slot.ready, slot.running, slot.actor = False, 0, None
        record("replicas_ready", len(self.ready()))
        if slot.lost_at is None:
            slot.lost_at = asyncio.get_running_loop().time()

    async def fail(self, message: str) -> None:
        """Nobody can be served any more; those who wait are told so."""
        async with self.changed:
            self.failure = message
            self.changed.notify_all()

    async def until(self, ready: Callable[[], bool], late: Callable[[], str]) -> None:
        """Wait, under the lock, until ``ready()``; it still holds when this returns.

        Raises RuntimeError when a replica is lost for good, TimeoutError with ``late()``.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + self.stall_timeout_s
        while not ready():
            if self.failure:
                raise RuntimeError(self.failure)
            try:
                await asyncio.wait_for(self.changed.wait(), max(deadline - clock(), 0.0))
            except TimeoutError:
                if not ready():
                    raise TimeoutError(f"{late()} within {self.stall_timeout_s:.0f} s") from None
