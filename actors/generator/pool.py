"""Generator pool: the actor that spreads requests over the replicas and pushes weights to them.

A request goes to the ready replica with the fewest requests whose version is new enough. Where a
replica fails, its requests are sampled again on another one.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import ObjectLostError, RayActorError, RayError

from actors.generator.lifecycle import ReplicaLifecycle
from actors.generator.nccl_broadcast import WeightSender
from actors.generator.replica import GeneratorReplica
from actors.generator.router import Replica, ReplicaState, Router
from actors.generator.types import ReplicaReport, Request
from actors.runtime.calls import START_TIMEOUT_S, ActorClient, remote_method, remote_reason
from actors.supervision.watchdog import WatchdogClient
from actors.weights.update import WeightUpdate
from unisd_core.common.completion import Completion
from unisd_core.config.run import Config

MAX_ATTEMPTS = 3
"""Times a group of requests is tried before its error is reported."""


class GeneratorPool:
    """Async actor that owns all replicas. One that Ray restarted starts new replicas.

    Incidents go to ``watchdog``. ``replica_class`` and ``sender_class`` are the classes of the
    actors that it starts.
    """

    def __init__(
        self,
        config: Config,
        model_dir: str,
        watchdog: WatchdogClient,
        replica_class: type = GeneratorReplica,
        sender_class: type = WeightSender,
    ) -> None:
        self.config, self.model_dir, self.sender_class = config, model_dir, sender_class
        settings = config.generator
        self.timeout_s = settings.timeout_s
        self.router = Router(settings.least, START_TIMEOUT_S + self.timeout_s)
        self.lifecycle = ReplicaLifecycle(config, model_dir, watchdog, self.router, replica_class)
        self.together = config.training.max_staleness == 0
        self._sender: Any = None

    async def start(self) -> list[ReplicaReport]:
        """Start the replicas, once; returns when as many as the run needs are ready."""
        return await self.lifecycle.start()

    async def generate(self, requests: list[Request], min_version: int = 0) -> list[Completion]:
        """Sample ``requests`` on one replica that serves ``min_version`` or newer; keeps their
        order.

        Raises at once an error that lies in the requests, and the last error after MAX_ATTEMPTS
        replicas have failed on them.
        """
        await self.start()
        for attempt in range(1, MAX_ATTEMPTS + 1):
            replica = await self.router.acquire(min_version, len(requests))
            actor = replica.actor
            try:
                call = actor.generate.remote(_renamed(requests, attempt), self.together)
                return await replica.answer(call, self.timeout_s)
            except (RayError, TimeoutError) as error:
                if not _replica_is_lost(error):
                    raise
                self.lifecycle.replace(replica, actor, remote_reason(error))
                if attempt == MAX_ATTEMPTS:
                    raise
            finally:
                await self.router.release(replica, actor, len(requests))
        raise AssertionError("unreachable")

    async def push(self, update: WeightUpdate) -> list[ReplicaReport]:
        """Load ``update`` into every ready replica; one that does not report it back is replaced.

        A replica that is being started loads the newest version before it becomes ready.
        """
        async with self.router.changed:
            self.router.newest = update
            self.router.changed.notify_all()
        await self.start()
        ready = [(replica, replica.actor) for replica in self.router.ready()]
        for replica, _ in ready:
            if replica.version > update.version:  # rolled back: nobody may train on what it serves
                replica.version = -1
        if self.config.generator.transport == "nccl" and ready:
            sent = await self._broadcast(update, ready)
            if sent is None:
                return []
            described = replace(update, buckets=())
            calls = [actor.adopt.remote(described, sent) for _, actor in ready]
        else:
            calls = [actor.load.remote(update) for _, actor in ready]
        pushes = (
            self._push_one(*pair, call, update) for pair, call in zip(ready, calls, strict=True)
        )
        reports = await asyncio.gather(*pushes)
        if self.router.failure:
            raise RuntimeError(self.router.failure)
        return [report for report in reports if report is not None]

    async def _broadcast(
        self, update: WeightUpdate, ready: list[tuple[Replica, Any]]
    ) -> str | None:
        """Send ``update`` to all ``ready`` replicas at once; returns the ``TensorChecksum`` of what
        was sent, None where that failed.

        A replica cannot leave a collective call whose peer is gone, so all are replaced then.
        """
        if self._sender is None:
            sender_class: Any = ray.remote(self.sender_class)
            options = {"num_cpus": 0, "num_gpus": self.config.generator.sender_gpus}
            self._sender = sender_class.options(**options).remote(self.config, self.model_dir)
        actors = [actor for _, actor in ready]
        try:
            call = self._sender.send.remote(update, actors)
            return str(await asyncio.wait_for(call, START_TIMEOUT_S + self.timeout_s))
        except ObjectLostError:
            return None  # nothing was sent; the learners publish again
        except (RayError, TimeoutError) as error:
            ray.kill(self._sender)
            self._sender = None
            for replica, actor in ready:
                self.lifecycle.replace(replica, actor, f"broadcast failed: {remote_reason(error)}")
            return None

    async def _push_one(
        self, replica: Replica, actor: Any, call: Any, update: WeightUpdate
    ) -> ReplicaReport | None:
        try:
            report = await replica.answer(call, self.timeout_s)
            if (report.version, report.checksum) != (update.version, update.checksum):
                raise TimeoutError(f"it reports version {report.version} after {update.version}")
        except ObjectLostError:
            return None  # the store died; the learners publish again
        except (RayError, TimeoutError) as error:
            self.lifecycle.replace(replica, actor, f"push failed: {remote_reason(error)}")
            return None
        async with self.router.changed:
            if replica.actor is actor:
                replica.version = report.version
                self.router.changed.notify_all()
        return report

    async def pushed(self) -> int | None:
        """The version that was pushed last; None where none was since the pool was started."""
        newest = self.router.newest
        return None if newest is None else newest.version

    async def reports(self, version: int) -> list[ReplicaReport]:
        """Version and work of all replicas that the run waits for, once each serves ``version``.

        Raises TimeoutError that names those that are late, RuntimeError when the pool has failed.
        """
        await self.start()

        def awaited() -> list[Replica]:
            return [replica for replica in self.router.replicas if replica.awaited]

        def late() -> list[Replica]:
            served = (ReplicaState.READY, version)
            return [one for one in awaited() if (one.state, one.version) != served]

        async with self.router.changed:
            await self.router.wait_until(
                lambda: not late(),
                lambda: (
                    f"not at version {version}: replicas "
                    + ", ".join(f"{replica.index} (at {replica.version})" for replica in late())
                ),
            )
            calls = [(replica, replica.actor.check.remote()) for replica in awaited()]
        answers = (replica.answer(call, self.timeout_s) for replica, call in calls)
        return list(await asyncio.gather(*answers))

    async def stop(self) -> None:
        """End all replicas."""
        await self.lifecycle.stop()
        if self._sender is not None:
            ray.kill(self._sender)


def _replica_is_lost(error: Exception) -> bool:
    """Whether the replica, rather than the request, is at fault."""
    return isinstance(error, (RayActorError, TimeoutError)) or "EngineDead" in str(error)


def _renamed(requests: list[Request], attempt: int) -> list[Request]:
    """``requests`` under keys of their own for each attempt: an engine must not see a key twice."""
    if attempt == 1:
        return requests
    return [replace(request, key=f"{request.key}#{attempt}") for request in requests]


class PoolClient(ActorClient):
    """What stages, the weight store and the driver ask of the pool."""

    who = "the generator pool"

    start = remote_method(GeneratorPool.start)
    generate = remote_method(GeneratorPool.generate)
    push = remote_method(GeneratorPool.push)
    pushed = remote_method(GeneratorPool.pushed)
    reports = remote_method(GeneratorPool.reports)
    stop = remote_method(GeneratorPool.stop)
