"""The generator pool: routing, readiness and replacement of replicas.

A replica is ready when it has answered a call and reports the version it was last
given. A request goes to the ready replica with the fewest requests running
whose version is new enough. A replica that dies or does not answer in time is
replaced in the background; its requests are sampled again elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from actors.calls import first_line
from actors.generator import GeneratorReplica
from actors.messages import ReplicaReport, Request, Sampled, WeightUpdate
from unisd_core.config import Config

log = logging.getLogger(__name__)

START_TIMEOUT_S = 600.0
"""Longest wait for an engine to load its model."""
MAX_ATTEMPTS = 3
"""Times a group of requests is tried before its error is reported."""


@dataclass
class Slot:
    """Place of one replica; the actor in it may change."""

    index: int
    actor: Any = None
    version: int = -1
    running: int = 0
    ready: bool = False


class GeneratorPool:
    """Async actor that owns all replicas."""

    def __init__(self, config: Config, model_dir: str) -> None:
        self.config, self.model_dir = config, model_dir
        self.slots = [Slot(index) for index in range(config.generator.replicas)]
        self.changed = asyncio.Condition()
        self.newest: WeightUpdate | None = None
        self.failure: str | None = None
        self.together = config.training.staleness == 0
        self.replacing: set[asyncio.Task[None]] = set()
        self.stopping = False

    async def start(self) -> list[ReplicaReport]:
        """Create all replicas and wait until each is ready."""
        return list(await asyncio.gather(*(self._fill(slot) for slot in self.slots)))

    async def _fill(self, slot: Slot) -> ReplicaReport:
        settings = self.config.generator
        actor = (
            ray.remote(GeneratorReplica)
            .options(num_cpus=settings.cpus, num_gpus=settings.gpus * settings.tensor_parallel)
            .remote(self.config, self.model_dir, slot.index)
        )
        slot.actor = actor
        update = self.newest
        report = await self._ask(slot, actor.start.remote(update), START_TIMEOUT_S)
        while not await self._mark_ready(slot, actor, report, update):
            update = self.newest
            report = await self._ask(slot, actor.load.remote(update), START_TIMEOUT_S)
        return report

    async def _mark_ready(
        self, slot: Slot, actor: Any, report: ReplicaReport, update: WeightUpdate | None
    ) -> bool:
        """Open the slot for requests, unless a newer version has been published meanwhile."""
        async with self.changed:
            if slot.actor is not actor or update is not self.newest:
                return slot.actor is not actor  # somebody else fills this slot now
            slot.version, slot.ready = report.version, True
            self.changed.notify_all()
            return True

    async def _ask(self, slot: Slot, reference: Any, timeout: float) -> Any:
        try:
            return await asyncio.wait_for(reference, timeout)
        except TimeoutError:
            raise TimeoutError(
                f"generator replica {slot.index} did not answer within {timeout:.0f} s"
            ) from None

    async def generate(self, requests: list[Request], min_version: int = 0) -> list[Sampled]:
        """Sample ``requests`` on one replica of at least ``min_version``; order is kept.

        Raises the last error after MAX_ATTEMPTS replicas have failed on them, and at once an
        error that lies in the requests.
        """
        for attempt in range(1, MAX_ATTEMPTS + 1):
            slot = await self._acquire(min_version, len(requests))
            actor = slot.actor
            try:
                call = actor.generate.remote(_renamed(requests, attempt), self.together)
                return await self._ask(slot, call, self.config.generator.timeout_s)
            except (RayError, TimeoutError) as error:
                if not _replica_is_lost(error):
                    raise
                log.warning("replica %d failed: %s", slot.index, first_line(error))
                self._replace(slot, actor)
                if attempt == MAX_ATTEMPTS:
                    raise
            finally:
                await self._release(slot, actor, len(requests))
        raise AssertionError("unreachable")

    async def _until(self, ready: Callable[[], bool], late: Callable[[], str]) -> None:
        """Wait, under the lock, until ``ready()``; it still holds when this returns.

        Raises RuntimeError when a replica is lost for good, TimeoutError with ``late()``.
        """
        limit = START_TIMEOUT_S + self.config.generator.timeout_s
        deadline = asyncio.get_running_loop().time() + limit
        while not ready():
            if self.failure:
                raise RuntimeError(self.failure)
            left = deadline - asyncio.get_running_loop().time()
            try:
                await asyncio.wait_for(self.changed.wait(), max(left, 0.0))
            except TimeoutError:
                if not ready():
                    raise TimeoutError(f"{late()} within {limit:.0f} s") from None

    async def _acquire(self, min_version: int, load: int) -> Slot:
        def candidates() -> list[Slot]:
            return [slot for slot in self.slots if slot.ready and slot.version >= min_version]

        async with self.changed:
            await self._until(
                lambda: bool(candidates()),
                lambda: (
                    f"no generator replica reached version {min_version} "
                    f"(they are at {[slot.version for slot in self.slots]})"
                ),
            )
            slot = min(candidates(), key=lambda slot: (slot.running, slot.index))
            slot.running += load
            return slot

    async def _release(self, slot: Slot, actor: Any, load: int) -> None:
        async with self.changed:
            if slot.actor is actor:
                slot.running -= load
            self.changed.notify_all()

    def _replace(self, slot: Slot, actor: Any) -> None:
        """Put a new replica in the place of ``actor``, unless that was done already."""
        if slot.actor is not actor or self.stopping:
            return
        slot.ready, slot.running, slot.actor = False, 0, None
        ray.kill(actor)
        task = asyncio.create_task(self._refill(slot))
        self.replacing.add(task)
        task.add_done_callback(self.replacing.discard)

    async def _refill(self, slot: Slot) -> None:
        try:
            await self._fill(slot)
        except (RayError, TimeoutError) as error:
            async with self.changed:
                self.failure = (
                    f"generator replica {slot.index} cannot be restarted: {first_line(error)}"
                )
                self.changed.notify_all()

    async def push(self, update: WeightUpdate) -> list[ReplicaReport]:
        """Bring every ready replica to ``update``; one that does not report it back is replaced.

        A replica that is being started takes the newest version before it becomes ready.
        """
        self.newest = update
        ready = [(slot, slot.actor) for slot in self.slots if slot.ready]
        for slot, _ in ready:
            if slot.version > update.version:  # rolled back: what it serves must not be trained on
                slot.version = -1
        reports = await asyncio.gather(*(self._push_one(*pair, update) for pair in ready))
        if self.failure:
            raise RuntimeError(self.failure)
        return [report for report in reports if report is not None]

    async def _push_one(self, slot: Slot, actor: Any, update: WeightUpdate) -> ReplicaReport | None:
        try:
            call = actor.load.remote(update)
            report = await self._ask(slot, call, self.config.generator.timeout_s)
            if (report.version, report.checksum) != (update.version, update.checksum):
                raise TimeoutError(f"it reports version {report.version} after {update.version}")
        except (RayError, TimeoutError) as error:
            log.warning("replica %d: push failed: %s", slot.index, first_line(error))
            self._replace(slot, actor)
            return None
        async with self.changed:
            if slot.actor is actor:
                slot.version = report.version
                self.changed.notify_all()
        return report

    async def reports(self, version: int) -> list[ReplicaReport]:
        """Version and work of all replicas, once each of them serves ``version``.

        Raises TimeoutError naming those that are late, RuntimeError when one is lost for good.
        """

        def late() -> list[Slot]:
            return [slot for slot in self.slots if not slot.ready or slot.version != version]

        async with self.changed:
            await self._until(
                lambda: not late(),
                lambda: (
                    f"not at version {version}: replicas "
                    + ", ".join(f"{slot.index} (at {slot.version})" for slot in late())
                ),
            )
            calls = [(slot, slot.actor.check.remote()) for slot in self.slots]
        timeout = self.config.generator.timeout_s
        return list(await asyncio.gather(*(self._ask(*call, timeout) for call in calls)))

    async def stop(self) -> None:
        """End all engines."""
        self.stopping = True
        for task in self.replacing:
            task.cancel()
        for slot in self.slots:
            actor = slot.actor
            if actor is None:
                continue
            try:
                await asyncio.wait_for(actor.stop.remote(), 10)
            except (RayError, TimeoutError) as error:
                log.warning("replica %d did not stop: %s", slot.index, first_line(error))
            ray.kill(actor)


def _replica_is_lost(error: Exception) -> bool:
    """Whether the replica, rather than the request, is at fault."""
    return isinstance(error, (RayActorError, TimeoutError)) or "EngineDead" in str(error)


def _renamed(requests: list[Request], attempt: int) -> list[Request]:
    """Engine keys must not repeat, also where a request is tried again."""
    if attempt == 1:
        return requests
    return [
        Request(f"{request.key}#{attempt}", request.prompt_ids, request.sampling)
        for request in requests
    ]
