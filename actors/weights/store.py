"""Weight store: the actor that owns published policy versions and pushes them to the pool.

It owns them so that they outlive the learner. A push runs beside generation and training; when
versions are published faster than they can be pushed, the newest one is pushed next. A pool that
Ray restarted gets the newest version again.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayActorError

from actors.runtime.background import BackgroundTasks
from actors.runtime.calls import ActorClient, remote_method, restarted
from actors.runtime.learner_fence import LearnerFence
from actors.runtime.metrics import record
from actors.supervision.watchdog import WatchdogClient
from actors.weights.update import WeightUpdate
from unisd_core.reporting.spans import Span


@dataclass(frozen=True)
class PushStatus:
    """Versions published so far, the last one pushed, seconds of each push."""

    published: int
    pushed: int
    push_seconds: list[float]


class WeightStore:
    """Async actor that holds the newest student for the generators and the newest teacher for the
    scorers.

    A store that Ray restarted has lost both. It refuses calls until the learners, which then start
    again from their checkpoint, publish them ``anew``.

    Every ``patrol_s`` seconds it asks ``pool`` (a PoolClient) whether it still knows its version.
    Incidents go to ``watchdog``.
    """

    def __init__(self, pool: Any, watchdog: WatchdogClient, patrol_s: float = 5.0) -> None:
        self.pool, self.patrol_s = pool, patrol_s

        def tell(what: str) -> None:
            watchdog.record.tell("weight store", what)

        self.fence = LearnerFence(tell)
        self.background = BackgroundTasks(tell)
        self.forgot = restarted()
        self.student: WeightUpdate | None = None
        self.teacher: WeightUpdate | None = None
        self.pushed: WeightUpdate | None = None
        self.published = 0
        self.changed = asyncio.Event()
        self.push_seconds: list[float] = []
        self.push_spans: list[Span] = []
        self.pushing: asyncio.Task[None] | None = None
        self.patrol: asyncio.Task[None] | None = None

    async def keep(self, bucket: Any) -> list[ray.ObjectRef[Any]]:
        """Take over one bucket; returns a list with a reference to it, which this actor owns."""
        return [ray.put(bucket)]

    async def publish(
        self,
        student: WeightUpdate,
        teacher: WeightUpdate | None,
        anew: bool = False,
        incarnation: int = 0,
    ) -> list[Span]:
        """Take over a version and start to push it, without waiting for the replicas. Returns the
        Unix times between which earlier versions were pushed since the last call.

        ``teacher`` are the weights that scorers use from now on; None keeps those they have, which
        is the base model when learners start ``anew``. Raises the error of an earlier push, and
        RuntimeError for learners of an older ``incarnation``.
        """
        self.fence.check(incarnation, f"version {student.version}")
        if anew:
            self.forgot, self.teacher = False, None
        self._check_memory()
        if self.pushing is not None and self.pushing.done():
            ended, self.pushing = self.pushing, None
            await ended
        if self.patrol is not None and self.patrol.done():
            ended, self.patrol = self.patrol, None
            await ended
        if self.patrol is None:
            patrol = self._keep_current()
            self.patrol = self.background.start("the watch over the generator pool", patrol)
        self.student, self.teacher = student, teacher or self.teacher
        self.published += 1
        self.changed.set()
        self.changed = asyncio.Event()
        self._start_push()
        done, self.push_spans = self.push_spans, []
        return done

    def _start_push(self) -> None:
        if self.pushing is None or self.pushing.done():
            self.pushing = self.background.start("the push of weights", self._push())

    def _check_memory(self) -> None:
        if self.forgot:
            raise RuntimeError("the weight store was restarted and has forgotten all weights")

    async def _push(self) -> None:
        while self.student is not None and self.student is not self.pushed:
            update = self.student
            began, began_unix = time.perf_counter(), time.time()
            await self.pool.push.remote(update)
            self.push_seconds.append(time.perf_counter() - began)
            self.push_spans.append((began_unix, time.time()))
            record("push_seconds", self.push_seconds[-1])
            record("pushed_bytes", update.size)
            self.pushed = update

    async def _keep_current(self) -> None:
        """Push again to a pool that has been restarted since the last push."""
        # No supervision, which is the driver's: nobody is lost here, the pool has only forgotten.
        while True:
            await asyncio.sleep(self.patrol_s)
            try:
                if self.pushed is None or await self.pool.pushed.remote() is not None:
                    continue
            except RayActorError:
                continue  # it is being restarted
            self.pushed = None
            self._start_push()

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

    async def teacher_if_not(self, version: int, student: int = 0) -> WeightUpdate | None:
        """The newest teacher once the student's version ``student`` has been published, or None
        when ``version`` is the newest already.

        What is to be read by the teacher that follows a student may come from nobody who waited
        for that student, as references do.
        """
        self._check_memory()
        while (self.student.version if self.student else 0) < student:
            await self.changed.wait()
        if self.teacher is None or self.teacher.version == version:
            return None
        return self.teacher

    async def status(self) -> PushStatus:
        """What was published and pushed."""
        pushed = self.pushed.version if self.pushed else 0
        return PushStatus(self.published, pushed, list(self.push_seconds))


class WeightStoreClient(ActorClient):
    """Calls the weight store: for learners, scorers and the driver."""

    who = "the weight store"

    keep = remote_method(WeightStore.keep)
    publish = remote_method(WeightStore.publish)
    wait_pushed = remote_method(WeightStore.wait_pushed)
    teacher_if_not = remote_method(WeightStore.teacher_if_not)
    status = remote_method(WeightStore.status)
