"""The generator pool: routing, readiness and replacement of replicas.

A replica is ready when it has answered a call and reports the version it was last
given. A request goes to the ready replica with the fewest requests running
whose version is new enough. A replica that fails or does not answer in time is
replaced; its requests are sampled again elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError

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
        self.replaced = 0
        self.failure: str | None = None
        self.together = config.training.staleness == 0

    async def start(self) -> list[ReplicaReport]:
        """Create all replicas and wait until each is ready."""
        return list(await asyncio.gather(*(self._fill(slot) for slot in self.slots)))

    async def _fill(self, slot: Slot) -> ReplicaReport:
        settings = self.config.generator
        slot.actor = (
            ray.remote(GeneratorReplica)
            .options(num_cpus=settings.cpus, num_gpus=settings.gpus * settings.tensor_parallel)
            .remote(self.config, self.model_dir, slot.index)
        )
        update = self.newest
        report = await self._ask(slot, slot.actor.start.remote(update), START_TIMEOUT_S)
        while update is not self.newest:
            update = self.newest
            report = await self._ask(slot, slot.actor.load.remote(update), START_TIMEOUT_S)
        await self._mark_ready(slot, report)
        return report

    async def _mark_ready(self, slot: Slot, report: ReplicaReport) -> None:
        async with self.changed:
            slot.version, slot.ready = report.version, True
            self.changed.notify_all()

    async def _ask(self, slot: Slot, reference: Any, timeout: float) -> Any:
        try:
            return await asyncio.wait_for(reference, timeout)
        except TimeoutError:
            raise TimeoutError(
                f"generator replica {slot.index} did not answer within {timeout:.0f} s"
            ) from None

    async def generate(self, requests: list[Request], min_version: int = 0) -> list[Sampled]:
        """Sample ``requests`` on one replica of at least ``min_version``; order is kept.

        Raises the last error after MAX_ATTEMPTS replicas have failed on them.
        """
        for attempt in range(1, MAX_ATTEMPTS + 1):
            slot = await self._acquire(min_version, len(requests))
            actor = slot.actor
            try:
                call = actor.generate.remote(_renamed(requests, attempt), self.together)
                return await self._ask(slot, call, self.config.generator.timeout_s)
            except (RayError, TimeoutError) as error:
                log.warning("replica %d failed: %s", slot.index, _first_line(error))
                if attempt == MAX_ATTEMPTS:
                    raise
                await self._replace(slot, actor)
            finally:
                await self._release(slot, actor, len(requests))
        raise AssertionError("unreachable")

    async def _acquire(self, min_version: int, load: int) -> Slot:
        def candidates() -> list[Slot]:
            return [slot for slot in self.slots if slot.ready and slot.version >= min_version]

        async with self.changed:
            await self.changed.wait_for(lambda: candidates() or self.failure)
            if self.failure:
                raise RuntimeError(self.failure)
            slot = min(candidates(), key=lambda slot: (slot.running, slot.index))
            slot.running += load
            return slot

    async def _release(self, slot: Slot, actor: Any, load: int) -> None:
        async with self.changed:
            if slot.actor is actor:
                slot.running -= load
            self.changed.notify_all()

    async def _replace(self, slot: Slot, actor: Any) -> None:
        """Put a new replica in the place of ``actor``, unless that was done already."""
        if slot.actor is not actor:
            return
        slot.ready, slot.running, slot.actor = False, 0, None
        self.replaced += 1
        ray.kill(actor)
        try:
            await self._fill(slot)
        except (RayError, TimeoutError) as error:
            async with self.changed:
                self.failure = (
                    f"generator replica {slot.index} cannot be restarted: {_first_line(error)}"
                )
                self.changed.notify_all()

    async def push(self, update: WeightUpdate) -> list[ReplicaReport]:
        """Bring every replica to ``update``; a replica that does not report it back is replaced."""
        self.newest = update
        ready = [slot for slot in self.slots if slot.ready]
        reports = await asyncio.gather(*(self._push_one(slot, update) for slot in ready))
        return [report for report in reports if report is not None]

    async def _push_one(self, slot: Slot, update: WeightUpdate) -> ReplicaReport | None:
        actor = slot.actor
        try:
            report = await self._ask(
                slot, actor.load.remote(update), self.config.generator.timeout_s
            )
            if (report.version, report.checksum) != (update.version, update.checksum):
                raise TimeoutError(f"reports version {report.version} after {update.version}")
        except (RayError, TimeoutError) as error:
            log.warning("replica %d: push failed: %s", slot.index, _first_line(error))
            await self._replace(slot, actor)
            return None
        await self._mark_ready(slot, report)
        return report

    async def reports(self) -> list[ReplicaReport]:
        """Version and work of every ready replica."""
        ready = [slot for slot in self.slots if slot.ready]
        timeout = self.config.generator.timeout_s
        return list(
            await asyncio.gather(
                *(self._ask(slot, slot.actor.check.remote(), timeout) for slot in ready)
            )
        )

    async def stop(self) -> None:
        """End all engines."""
        for slot in self.slots:
            if slot.actor is not None:
                try:
                    await asyncio.wait_for(slot.actor.stop.remote(), 10)
                except (RayError, TimeoutError) as error:
                    log.warning("replica %d did not stop: %s", slot.index, _first_line(error))
                ray.kill(slot.actor)


def _renamed(requests: list[Request], attempt: int) -> list[Request]:
    """Engine keys must not repeat, also where a request is tried again."""
    if attempt == 1:
        return requests
    return [
        Request(f"{request.key}#{attempt}", request.prompt_ids, request.sampling)
        for request in requests
    ]


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
