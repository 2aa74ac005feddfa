"""Router: the state of each replica, and the choice of the one that a group of requests goes to."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from actors.generator.types import ReplicaReport
from actors.runtime.metrics import record
from actors.weights.update import WeightUpdate


class ReplicaState(Enum):
    """Where a replica is in its life. Only a READY one is given requests and weights."""

    STARTING = auto()
    """Loads the model at the start of the run, which waits for it."""
    JOINING = auto()
    """Loads the model in the middle of the run. Nobody waits for it."""
    READY = auto()
    """Answers requests."""
    DRAINING = auto()
    """Answers the requests that it has, and then leaves."""
    LOST = auto()
    """Its actor is gone. The run waits for the next one."""
    ABANDONED = auto()
    """Its actor is gone and could not be replaced. The others do its work until it can be."""


AWAITED = {ReplicaState.STARTING, ReplicaState.READY, ReplicaState.LOST}
"""States of the replicas that have to serve a version before the run goes on with it."""


@dataclass(eq=False)
class Replica:
    """A replica as the pool sees it. It keeps its index when the actor behind it is replaced."""

    index: int
    state: ReplicaState = ReplicaState.STARTING
    actor: Any = None
    version: int = -1
    running: int = 0
    """Requests that it was given and has not answered."""
    lost_at: float = 0.0
    """Time of the event loop at which its last actor was lost."""
    progress: int = -1
    """Engine steps at the last health check."""
    idle_since: float = 0.0
    """Time of the event loop since which no check has found more of them."""

    @property
    def awaited(self) -> bool:
        """Whether the run waits for this replica."""
        return self.state in AWAITED

    async def answer(self, call: Any, timeout_s: float) -> Any:
        """The result of a remote call to this replica. Raises TimeoutError that names it."""
        try:
            return await asyncio.wait_for(call, timeout_s)
        except TimeoutError:
            raise TimeoutError(
                f"generator replica {self.index} did not answer within {timeout_s:.0f} s"
            ) from None


class Router:
    """All replicas, and the condition ``changed``, which is notified when one of them changes.

    ``count`` replicas are there from the start. ``stall_timeout_s`` is the longest wait for a
    replica, in seconds.
    """

    def __init__(self, count: int, stall_timeout_s: float) -> None:
        self.replicas: list[Replica] = []
        self.stall_timeout_s = stall_timeout_s
        self.newest: WeightUpdate | None = None
        """The weights that were pushed last; None is the untrained model."""
        self._indices = itertools.count()
        for _ in range(count):
            self.add(ReplicaState.STARTING)
        self.changed = asyncio.Condition()
        self.failure: str | None = None

    def ready(self, min_version: int = -1) -> list[Replica]:
        """Replicas that may be given requests which need ``min_version``."""
        return [
            replica
            for replica in self.replicas
            if replica.state is ReplicaState.READY and replica.version >= min_version
        ]

    def add(self, state: ReplicaState) -> Replica:
        """Add a replica that has no actor yet."""
        replica = Replica(next(self._indices), state)
        self.replicas.append(replica)
        return replica

    async def remove(self, replica: Replica) -> None:
        """Forget a replica; nobody waits for it any more."""
        async with self.changed:
            self.replicas.remove(replica)
            self._count_ready()
            self.changed.notify_all()

    async def wait_drained(self, replica: Replica) -> None:
        """Return when a DRAINING replica has answered its requests, or was lost."""
        async with self.changed:
            await self.wait_until(
                lambda: replica.running == 0,
                lambda: f"replica {replica.index} still works on {replica.running} requests",
            )

    async def acquire(self, min_version: int, load: int) -> Replica:
        """The ready replica with the fewest requests, with ``load`` more. Waits for one.

        The first replica to have a new version does not get everybody's work: each takes at most
        ``load`` requests more than the least busy one, whose version is on its way.

        Raises RuntimeError when the pool has failed, TimeoutError with the versions of all
        replicas.
        """
        async with self.changed:
            await self.wait_until(
                lambda: self._choose(min_version, load) is not None,
                lambda: (
                    f"no generator replica reached version {min_version} "
                    f"(they are at {[replica.version for replica in self.replicas]})"
                ),
            )
            replica = self._choose(min_version, load)
            assert replica is not None
            replica.running += load
            return replica

    def _choose(self, min_version: int, load: int) -> Replica | None:
        new_enough = self.ready(min_version)
        if not new_enough:
            return None
        replica = min(new_enough, key=lambda replica: (replica.running, replica.index))
        least = min(other.running for other in self.ready())
        return replica if replica.running < least + load else None

    async def release(self, replica: Replica, actor: Any, load: int) -> None:
        """Take back ``load`` requests: ``actor`` has answered them, or never will."""
        async with self.changed:
            if replica.actor is actor:
                replica.running -= load
            self.changed.notify_all()

    def mark_ready(self, replica: Replica, report: ReplicaReport) -> None:
        """Give requests to ``replica`` from now on. The caller holds ``changed``."""
        replica.state, replica.version = ReplicaState.READY, report.version
        replica.progress = -1
        self.failure = None
        self.changed.notify_all()
        self._count_ready()

    def mark_lost(self, replica: Replica) -> None:
        """Give no more requests to ``replica``, whose actor is lost. One that was leaving anyway
        stays DRAINING, with nothing left to answer."""
        if replica.state is not ReplicaState.DRAINING:
            replica.state = ReplicaState.LOST
        replica.running, replica.actor = 0, None
        replica.lost_at = asyncio.get_running_loop().time()
        self._count_ready()

    async def mark_abandoned(self, replica: Replica) -> None:
        """Wait for ``replica`` no more."""
        async with self.changed:
            replica.state = ReplicaState.ABANDONED
            self.changed.notify_all()

    def _count_ready(self) -> None:
        record("replicas_ready", len(self.ready()))

    async def fail(self, message: str) -> None:
        """Nobody can be served any more; all who wait are told so."""
        async with self.changed:
            self.failure = message
            self.changed.notify_all()

    async def wait_until(self, ready: Callable[[], bool], late: Callable[[], str]) -> None:
        """Wait until ``ready()``. The caller holds ``changed``, also when this returns.

        Raises RuntimeError when the pool has failed, TimeoutError that begins with ``late()``.
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
