"""The generator pool: routing, readiness and replacement of replicas.

A replica is ready when it has answered a call and reports the version it was last
given. A request goes to the ready replica with the fewest requests running
whose version is new enough. A replica that dies, does not answer in time or makes no progress is
replaced in the background; its requests are sampled again elsewhere.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import ObjectLostError, RayActorError, RayError
from ray.util import remove_placement_group

from actors.admission.gate import GateClient
from actors.generator import autoscaler as elastic
from actors.generator.nccl_broadcast import WeightSender
from actors.generator.replica import GeneratorReplica
from actors.generator.router import Slot, Slots
from actors.generator.types import ReplicaReport, Request, Sampled
from actors.runtime.calls import (
    START_TIMEOUT_S,
    ActorClient,
    first_line,
    remote_method,
)
from actors.runtime.placement import place_options, reserve, reserved
from actors.supervision.watchdog import WatchdogClient
from actors.weights.update import WeightUpdate
from unisd_core.config.run import Config

MAX_ATTEMPTS = 3
"""Times a group of requests is tried before its error is reported."""
MAX_STARTS = 3
"""Replicas that may die in a row while they load, before their place is given up for a while."""
RETRY_S = 60.0
"""Pause before a place that was given up is tried again."""


class GeneratorPool:
    """Async actor that owns all replicas. Ray may restart it: it then starts new ones.

    ``watch`` is told of every incident.
    """

    replica: type = GeneratorReplica

    def __init__(self, config: Config, model_dir: str, watch: WatchdogClient) -> None:
        self.config, self.model_dir, self.watch = config, model_dir, watch
        self.timeout = config.generator.timeout_s
        self.slots = Slots(config.generator.least, START_TIMEOUT_S + self.timeout)
        self.newest: WeightUpdate | None = None
        self.together = config.training.max_staleness == 0
        self.starting: asyncio.Task[list[ReplicaReport]] | None = None
        self.background: set[asyncio.Task[None]] = set()
        self.stopping = False
        self.places: Any = None
        self.sender: Any = None

    async def start(self) -> list[ReplicaReport]:
        """Create all replicas, once, and wait until each is ready."""
        if self.starting is None:
            self.starting = asyncio.create_task(self._start())
            self._go(self._supervise())
            settings = self.config.generator
            if settings.most > settings.least:
                for _ in range(settings.replicas - settings.least):
                    await self.join("asked for at the start")
                self._go(elastic.follow(self, GateClient("gate"), settings.scale_s))
        return await asyncio.shield(self.starting)

    async def _start(self) -> list[ReplicaReport]:
        settings = self.config.generator
        try:
            self.places = reserve(settings)
            await reserved(self.places, settings, START_TIMEOUT_S)
            needed = self.slots.all[: settings.least]
            return list(await asyncio.gather(*(self._fill_any(slot) for slot in needed)))
        except (RayError, TimeoutError) as error:
            await self.slots.fail(f"the generator pool cannot be started: {first_line(error)}")
            raise

    def _go(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self.background.add(task)
        task.add_done_callback(self.background.discard)

    async def _fill_any(self, slot: Slot) -> ReplicaReport:
        """Fill ``slot``, with another replica where one dies while it loads."""
        for start in range(1, MAX_STARTS + 1):
            try:
                return await self._fill(slot)
            except (RayError, TimeoutError) as error:
                ray.kill(slot.actor)
                if start == MAX_STARTS or not isinstance(error, RayActorError):
                    raise
        raise AssertionError("unreachable")

    async def _fill(self, slot: Slot) -> ReplicaReport:
        options = place_options(self.places, slot.index, self.config.generator)
        remote = ray.remote(self.replica).options(**options)
        actor = remote.remote(self.config, self.model_dir, slot.index)
        slot.actor = actor
        report, update = await self._ask(slot, actor.start.remote(), START_TIMEOUT_S), None
        while True:
            async with self.slots.changed:
                if slot.actor is not actor:
                    return report  # somebody else fills this place now
                if update is self.newest:
                    self.slots.open(slot, report)
                    return report
            update = self.newest  # published meanwhile
            try:
                report = await self._ask(slot, actor.load.remote(update), START_TIMEOUT_S)
            except ObjectLostError:
                # The weights died with the store. The learners publish them again.
                async with self.slots.changed:
                    await self.slots.until(
                        lambda lost=update: self.newest is not lost,
                        lambda lost=update: f"version {lost.version} was not published again",
                    )

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
        await self.start()
        for attempt in range(1, MAX_ATTEMPTS + 1):
            slot = await self.slots.acquire(min_version, len(requests))
            actor = slot.actor
            try:
                call = actor.generate.remote(_renamed(requests, attempt), self.together)
                return await self._ask(slot, call, self.timeout)
            except (RayError, TimeoutError) as error:
                if not _replica_is_lost(error):
                    raise
                self._replace(slot, actor, first_line(error))
                if attempt == MAX_ATTEMPTS:
                    raise
            finally:
                await self.slots.release(slot, actor, len(requests))
        raise AssertionError("unreachable")

    def _replace(self, slot: Slot, actor: Any, why: str) -> None:
        """Put a new replica in the place of ``actor``, unless that was done already."""
        if slot.actor is not actor or self.stopping:
            return
        self.slots.close(slot)
        ray.kill(actor)
        if not slot.leaving:
            self._go(self._refill(slot, why))

    async def _refill(self, slot: Slot, why: str) -> None:
        await self._note(slot, f"lost ({why})")
        lost_at = slot.lost_at or 0.0
        while not slot.ready:
            try:
                await self._fill_any(slot)
            except (RayError, TimeoutError) as error:
                reason = f"cannot be restarted: {first_line(error)}"
                await self._note(slot, reason)
                if len(self.slots.all) > self.config.generator.least:
                    return await self.slots.remove(slot)
                if not self.slots.ready():
                    return await self.slots.fail(f"generator replica {slot.index} {reason}")
                async with self.slots.changed:
                    slot.abandoned = True
                    self.slots.changed.notify_all()
                await asyncio.sleep(RETRY_S)
        took = asyncio.get_running_loop().time() - lost_at
        await self._note(slot, f"back after {took:.1f} s at version {slot.version}")

    async def join(self, why: str) -> None:
        """One replica more, as soon as the cluster has room for it."""
        slot = self.slots.add(joining=True)
        await self._note(slot, f"asked for ({why})")
        self._go(self._welcome(slot))

    async def _welcome(self, slot: Slot) -> None:
        try:
            await self._fill_any(slot)
        except (RayError, TimeoutError) as error:
            await self._note(slot, f"did not join: {first_line(error)}")
            return await self.slots.remove(slot)
        await self._note(slot, f"joined at version {slot.version}")

    async def leave(self, why: str) -> None:
        """The youngest replica answers what it was given and goes."""
        slot = max(self.slots.ready(), key=lambda slot: slot.index, default=None)
        if slot is not None:
            self._go(self._see_off(slot, why))

    async def _see_off(self, slot: Slot, why: str) -> None:
        await self._note(slot, f"leaves ({why})")
        await self.slots.drained(slot)
        actor = slot.actor
        await self.slots.remove(slot)
        if actor is not None:
            await self._end(slot, actor)

    async def _end(self, slot: Slot, actor: Any) -> None:
        try:
            await asyncio.wait_for(actor.stop.remote(), 10)
        except (RayError, TimeoutError) as error:
            await self._note(slot, f"did not stop: {first_line(error)}")
        ray.kill(actor)

    async def _note(self, slot: Slot, what: str) -> None:
        await self.watch.record.remote(f"generator replica {slot.index}", what)

    async def _supervise(self) -> None:
        """Replace replicas that do not answer, or work without getting on."""
        limit = self.config.generator.stall_s
        while True:
            await asyncio.sleep(min(10.0, limit / 4))
            await asyncio.gather(*(self._look_at(slot, limit) for slot in self.slots.ready()))

    async def _look_at(self, slot: Slot, limit: float) -> None:
        actor, now = slot.actor, asyncio.get_running_loop().time()
        try:
            report = await self._ask(slot, actor.check.remote(), limit)
        except (RayError, TimeoutError) as error:
            return self._replace(slot, actor, first_line(error))
        if report.progress != slot.progress or not report.running:
            slot.progress, slot.idle_since = report.progress, now
        elif now - slot.idle_since > limit:
            self._replace(slot, actor, f"works on {report.running} requests without progress")

    async def push(self, update: WeightUpdate) -> list[ReplicaReport]:
        """Bring every ready replica to ``update``; one that does not report it back is replaced.

        A replica that is being started takes the newest version before it becomes ready.
        """
        async with self.slots.changed:
            self.newest = update
            self.slots.changed.notify_all()
        await self.start()
        ready = [(slot, slot.actor) for slot in self.slots.ready()]
        for slot, _ in ready:
            if slot.version > update.version:  # rolled back: what it serves must not be trained on
                slot.version = -1
        call = "load"
        if self.config.generator.transport == "nccl" and ready:
            if not await self._broadcast(update, ready):
                return []
            update, call = replace(update, buckets=()), "adopt"
        reports = await asyncio.gather(*(self._push_one(*pair, update, call) for pair in ready))
        if self.slots.failure:
            raise RuntimeError(self.slots.failure)
        return [report for report in reports if report is not None]

    async def _broadcast(self, update: WeightUpdate, ready: list[tuple[Slot, Any]]) -> bool:
        """Give ``update`` to all ``ready`` replicas at once; whether they have it. Nobody leaves a
        collective call whose peer is gone, so all of them are replaced where it fails."""
        if self.sender is None:
            options = {"num_cpus": 0, "num_gpus": self.config.generator.sender_gpus}
            sender = ray.remote(WeightSender).options(**options)
            self.sender = sender.remote(self.config, self.model_dir)
        actors = [actor for _, actor in ready]
        try:
            call = self.sender.send.remote(update, actors)
            await asyncio.wait_for(call, START_TIMEOUT_S + self.timeout)
            return True
        except ObjectLostError:
            return False  # nothing was sent; the learners publish again
        except (RayError, TimeoutError) as error:
            ray.kill(self.sender)
            self.sender = None
            for slot, actor in ready:
                self._replace(slot, actor, f"broadcast failed: {first_line(error)}")
            return False

    async def _push_one(
        self, slot: Slot, actor: Any, update: WeightUpdate, call: str
    ) -> ReplicaReport | None:
        try:
            report = await self._ask(slot, getattr(actor, call).remote(update), self.timeout)
            if (report.version, report.checksum) != (update.version, update.checksum):
                raise TimeoutError(f"it reports version {report.version} after {update.version}")
        except ObjectLostError:
            return None  # the store died; the learners publish again
        except (RayError, TimeoutError) as error:
            self._replace(slot, actor, f"push failed: {first_line(error)}")
            return None
        async with self.slots.changed:
            if slot.actor is actor:
                slot.version = report.version
                self.slots.changed.notify_all()
        return report

    async def pushed(self) -> int | None:
        """The version that was last to be pushed; None for a pool that knows of none."""
        return None if self.newest is None else self.newest.version

    async def reports(self, version: int) -> list[ReplicaReport]:
        """Version and work of all replicas that can be had, once each of them serves ``version``.

        Raises TimeoutError naming those that are late, RuntimeError when none can be had.
        """
        await self.start()

        def wanted() -> list[Slot]:
            return [
                slot
                for slot in self.slots.all
                if not (slot.abandoned or slot.joining or slot.leaving)
            ]

        def late() -> list[Slot]:
            return [slot for slot in wanted() if not slot.ready or slot.version != version]

        async with self.slots.changed:
            await self.slots.until(
                lambda: not late(),
                lambda: (
                    f"not at version {version}: replicas "
                    + ", ".join(f"{slot.index} (at {slot.version})" for slot in late())
                ),
            )
            calls = [(slot, slot.actor.check.remote()) for slot in wanted()]
        return list(await asyncio.gather(*(self._ask(*call, self.timeout) for call in calls)))

    async def stop(self) -> None:
        """End all engines."""
        self.stopping = True
        for task in self.background:
            task.cancel()
        for slot in self.slots.all:
            if slot.actor is not None:
                await self._end(slot, slot.actor)
        if self.sender is not None:
            ray.kill(self.sender)
        if self.places is not None:
            remove_placement_group(self.places)


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


class PoolClient(ActorClient):
    """What stages, the weight store and the driver ask of the pool."""

    who = "the generator pool"

    start = remote_method(GeneratorPool.start)
    generate = remote_method(GeneratorPool.generate)
    push = remote_method(GeneratorPool.push)
    pushed = remote_method(GeneratorPool.pushed)
    reports = remote_method(GeneratorPool.reports)
    stop = remote_method(GeneratorPool.stop)
