"""Lifecycle of the replicas: starts, replaces, adds, drains and supervises them.

A replica that dies, does not answer in time or makes no progress is replaced in the background.
One that is started takes the newest weights before it becomes ready. The pool tells what happened
to whom as incidents.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

import ray
from ray.exceptions import ObjectLostError, RayActorError
from ray.util import remove_placement_group

from actors.admission.gate import GateClient
from actors.generator.autoscaler import explain, wanted_change
from actors.generator.router import Replica, ReplicaState, Router
from actors.generator.types import ReplicaReport
from actors.runtime.background import BackgroundTasks
from actors.runtime.calls import START_TIMEOUT_S, remote_reason
from actors.runtime.placement import place_options, reserve, reserved
from actors.supervision.supervisor import Supervisor
from actors.supervision.watchdog import WatchdogClient
from actors.weights.update import WeightUpdate
from unisd_core.config.run import Config

MAX_STARTS = 3
"""Actors of one replica that may die in a row while they load, before its start has failed."""
RETRY_S = 60.0
"""Pause before an abandoned replica is started again."""
STOP_S = 10.0
"""Longest wait for a replica to end its engine."""
CHECK_S = 10.0
"""Longest pause between two health checks of a replica."""


class ReplicaLifecycle:
    """Owns the actors of the replicas in ``router``, each of class ``replica_class``.

    Incidents go to ``watchdog``.
    """

    def __init__(
        self,
        config: Config,
        model_dir: str,
        watchdog: WatchdogClient,
        router: Router,
        replica_class: type,
    ) -> None:
        self.config, self.settings, self.model_dir = config, config.generator, model_dir
        self.watchdog, self.router, self.replica_class = watchdog, router, replica_class
        self._supervisor = Supervisor(min(CHECK_S, self.settings.stall_s / 4))
        self.start_timeout_s, self.retry_s = START_TIMEOUT_S, RETRY_S
        self._starting: asyncio.Task[list[ReplicaReport]] | None = None
        self.background = BackgroundTasks(
            lambda failure: watchdog.record.tell("generator pool", failure)
        )
        self._failure: str | None = None
        self._stopping = False
        self._placement: Any = None

    async def start(self) -> list[ReplicaReport]:
        """Start the replicas, once; returns when as many as the run needs are ready. Raises
        RuntimeError where the pool has lost what it cannot do without."""
        if self._failure is not None:
            raise RuntimeError(self._failure)
        if self._starting is None:
            self._starting = self.background.start("the start of the replicas", self._start_all())
            supervision = self._supervisor.run()
            self.background.start("the supervision of the replicas", supervision, self._fail)
            settings = self.settings
            if settings.most > settings.least:
                for _ in range(settings.replicas - settings.least):
                    await self.scale_up("asked for at the start")
                scaling = self.autoscale(GateClient("gate"), settings.scale_s)
                self.background.start("the autoscaler", scaling)
        return await asyncio.shield(self._starting)

    async def _start_all(self) -> list[ReplicaReport]:
        try:
            self._placement = reserve(self.settings)
            await reserved(self._placement, self.settings, self.start_timeout_s)
            needed = self.router.replicas[: self.settings.least]
            return list(await asyncio.gather(*map(self._start_with_retries, needed)))
        except Exception as error:
            await self.router.fail(f"the generator pool cannot be started: {remote_reason(error)}")
            raise

    async def _fail(self, failure: str) -> None:
        """Nobody is served from now on, and whoever asks is told why."""
        self._failure = failure
        await self.router.fail(failure)

    async def _start_with_retries(self, replica: Replica) -> ReplicaReport:
        """Start an actor for ``replica``, and another one where it dies while it loads."""
        for start in range(1, MAX_STARTS + 1):
            try:
                return await self._start(replica)
            except Exception as error:
                if replica.actor is not None:
                    ray.kill(replica.actor)
                if start == MAX_STARTS or not isinstance(error, RayActorError):
                    raise
        raise AssertionError("unreachable")

    async def _start(self, replica: Replica) -> ReplicaReport:
        options = place_options(self._placement, replica.index, self.settings)
        actor_class: Any = ray.remote(self.replica_class)
        actor = actor_class.options(**options).remote(self.config, self.model_dir, replica.index)
        replica.actor = actor
        report = await replica.answer(actor.start.remote(), self.start_timeout_s)
        loaded: WeightUpdate | None = None
        while True:
            async with self.router.changed:
                if replica.actor is not actor:
                    return report  # it was replaced meanwhile
                newest = self.router.newest
                if newest is None or newest is loaded:
                    self.router.mark_ready(replica, report)
                    self._supervise(replica, actor)
                    return report
            try:
                report = await replica.answer(actor.load.remote(newest), self.start_timeout_s)
                loaded = newest
            except ObjectLostError:
                # The weights died with the store. The learners publish them again.
                await self._wait_for_another_than(newest)

    async def _wait_for_another_than(self, lost: WeightUpdate) -> None:
        router = self.router
        async with router.changed:
            await router.wait_until(
                lambda: router.newest is not lost,
                lambda: f"version {lost.version} was not published again",
            )

    def replace(self, replica: Replica, actor: Any, why: str) -> None:
        """Put a new actor in the place of ``actor``, unless that was done already."""
        if replica.actor is not actor or self._stopping:
            return
        self._supervisor.unregister(replica.index)
        self.router.mark_lost(replica)
        ray.kill(actor)
        if replica.state is ReplicaState.LOST:
            restart = self._restart(replica, why)
            self.background.start(f"the restart of replica {replica.index}", restart, self._fail)

    async def _restart(self, replica: Replica, why: str) -> None:
        """Start ``replica`` again. Where that fails it leaves a pool that may do without it, and is
        tried again from time to time in one that may not."""
        await self._record(replica, f"lost ({why})")
        lost_at = replica.lost_at
        while replica.state is not ReplicaState.READY:
            try:
                await self._start_with_retries(replica)
            except Exception as error:
                failure = f"cannot be restarted: {remote_reason(error)}"
                await self._record(replica, failure)
                if len(self.router.replicas) > self.settings.least:
                    return await self.router.remove(replica)
                if not self.router.ready():
                    return await self.router.fail(f"generator replica {replica.index} {failure}")
                await self.router.mark_abandoned(replica)
                await asyncio.sleep(self.retry_s)
        took = asyncio.get_running_loop().time() - lost_at
        await self._record(replica, f"back after {took:.1f} s at version {replica.version}")

    async def scale_up(self, why: str) -> None:
        """Add a replica, as soon as the cluster has room for it.

        Until then its actor is a demand that Ray's autoscaler sees.
        """
        replica = self.router.add(ReplicaState.JOINING)
        await self._record(replica, f"asked for ({why})")
        joining = self._await_new_replica(replica)
        self.background.start(f"the start of replica {replica.index}", joining)

    async def _await_new_replica(self, replica: Replica) -> None:
        try:
            await self._start_with_retries(replica)
        except Exception as error:
            await self._record(replica, f"did not join: {remote_reason(error)}")
            return await self.router.remove(replica)
        await self._record(replica, f"joined at version {replica.version}")

    def scale_down(self, why: str) -> None:
        """Remove the youngest replica once it has answered the requests that it has."""
        replica = max(self.router.ready(), key=lambda replica: replica.index, default=None)
        if replica is not None:
            replica.state = ReplicaState.DRAINING
            self._supervisor.unregister(replica.index)
            draining = self._drain(replica, why)
            self.background.start(f"the end of replica {replica.index}", draining)

    async def _drain(self, replica: Replica, why: str) -> None:
        await self._record(replica, f"leaves ({why})")
        try:
            await self.router.wait_drained(replica)
        except (RuntimeError, TimeoutError) as error:
            await self._record(replica, f"leaves with requests: {error}")
        actor = replica.actor
        await self.router.remove(replica)
        if actor is not None:
            await self._stop({replica: actor})

    async def autoscale(self, gate: GateClient, every_s: float) -> None:
        """Ask the gate every ``every_s`` seconds who waited, and grow or shrink accordingly."""
        settings = self.settings
        while True:
            await asyncio.sleep(every_s)
            try:
                asked = gate.idle.remote()
            except ValueError:
                continue  # there is no gate yet
            try:
                idle = await asked
            except RayActorError:
                continue  # it is being restarted
            states = [replica.state for replica in self.router.replicas]
            joining = states.count(ReplicaState.JOINING)
            replicas = len(states) - joining
            change = wanted_change(idle, replicas, joining, settings.least, settings.most)
            if change > 0:
                await self.scale_up(explain(idle))
            elif change < 0:
                self.scale_down(explain(idle))

    def _supervise(self, replica: Replica, actor: Any) -> None:
        """Replace ``actor`` when it does not answer, or has requests and makes no progress."""
        limit_s, clock = self.settings.stall_s, asyncio.get_running_loop().time

        def lost(error: BaseException) -> None:
            late = isinstance(error, TimeoutError)
            why = f"did not answer within {limit_s:.0f} s" if late else remote_reason(error)
            self.replace(replica, actor, why)

        def answered(report: ReplicaReport) -> None:
            if report.progress != replica.progress or not report.running:
                replica.progress, replica.idle_since = report.progress, clock()
            elif clock() - replica.idle_since > limit_s:
                why = f"works on {report.running} requests without progress"
                self.replace(replica, actor, why)

        def check() -> Future[ReplicaReport]:
            return actor.check.remote().future()

        self._supervisor.register(replica.index, limit_s, check, lost, answered)

    async def stop(self) -> None:
        """End all replicas and give back what was reserved for them."""
        self._stopping = True
        await self.background.cancel()
        await self._stop({one: one.actor for one in self.router.replicas if one.actor is not None})
        if self._placement is not None:
            remove_placement_group(self._placement)

    async def _stop(self, actors: dict[Replica, Any]) -> None:
        """End the engines of ``actors``, all at the same time, and then the actors, also those
        whose engine has not ended within STOP_S."""

        async def stop(replica: Replica, actor: Any) -> None:
            try:
                await asyncio.wait_for(actor.stop.remote(), STOP_S)
            except Exception as error:
                why = f"did not stop: {remote_reason(error)}"
                self.watchdog.record.tell(_name(replica), why)
            finally:
                ray.kill(actor)

        await asyncio.gather(*(stop(*one) for one in actors.items()))

    async def _record(self, replica: Replica, what: str) -> None:
        await self.watchdog.record.remote(_name(replica), what)


def _name(replica: Replica) -> str:
    return f"generator replica {replica.index}"
