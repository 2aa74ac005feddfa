"""Watchdog: the actor that replaces workers that hang, tells the gate of stages that are lost, and
collects the incidents of a run.

Ray restarts what dies; it does not see what hangs. A worker that says when it begins and ends a
piece of work is killed when it takes longer than it may, and Ray restarts it. Nor does Ray Data see
a stage die that has nothing to do: rows it held are gone, and the stream would wait for them.

With the same supervisor the driver watches the watchdog itself (``liveness.py``), and the pool its
replicas.
"""

from __future__ import annotations

import asyncio
from typing import Any

import ray

from actors.runtime.background import BackgroundTasks
from actors.runtime.calls import ActorClient, remote_method, remote_reason
from actors.supervision.incidents import IncidentLog
from actors.supervision.supervisor import Supervisor, sign_of_life


class Watchdog(IncidentLog):
    """Async actor to which all others report. It asks for a sign of life every ``interval_s``
    seconds."""

    def __init__(self, interval_s: float = 1.0) -> None:
        super().__init__()
        self.supervisor = Supervisor(interval_s)
        self.background = BackgroundTasks(lambda failure: self.note("watchdog", failure))
        self._looking: asyncio.Task[None] | None = None

    async def begin(self, key: str, who: str, actor: Any, limit_s: float) -> None:
        """``actor`` starts a piece of work, which may take ``limit_s`` seconds. Between two of them
        it has to answer within that time.

        ``key`` tells actors apart; one that begins again has ended what it did before.
        """

        def on_lost(error: BaseException) -> None:
            # Its successor, which may take long to start, is left alone until its first work.
            self.supervisor.unregister(key)
            if isinstance(error, TimeoutError):  # otherwise Ray is restarting it already
                work = self._replace(who, actor, f"{error}; replaced")
                self.background.start(f"the replacement of the {who}", work)

        self._look()
        self.supervisor.register(key, limit_s, sign_of_life(actor), on_lost)
        self.supervisor.begin_work(key)

    async def end(self, key: str) -> None:
        """The work that began under ``key`` is done."""
        self.supervisor.end_work(key)

    async def monitor(self, who: str, actor: Any, gate: Any, stream: int, limit_s: float) -> None:
        """``actor`` holds rows of ``stream``: the gate is told when it is dead, or gives no sign of
        life for ``limit_s`` seconds."""
        key = object()

        def on_lost(error: BaseException) -> None:
            self.supervisor.unregister(key)
            work = self._report_broken(who, gate, stream, f"lost ({remote_reason(error)})")
            self.background.start(f"the report of a lost {who}", work)

        self._look()
        self.supervisor.register(key, limit_s, sign_of_life(actor), on_lost)

    def _look(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = self.background.start("supervision", self.supervisor.run())

    async def _replace(self, who: str, actor: Any, what: str) -> None:
        await self.record(who, what)
        # Whoever is stopped or busy cannot answer; the node's raylet ends it.
        await asyncio.to_thread(ray.kill, actor, no_restart=False)

    async def _report_broken(self, who: str, gate: Any, stream: int, reason: str) -> None:
        if await gate.stream_broke.remote(stream, f"the {who} was {reason}"):
            await self.record(who, f"{reason}; the stream begins again")


class WatchdogClient(ActorClient):
    """Calls the watchdog: for the stages, the learners, the pool and the driver."""

    who = "the watchdog"

    begin = remote_method(Watchdog.begin)
    end = remote_method(Watchdog.end)
    monitor = remote_method(Watchdog.monitor)
    record = remote_method(Watchdog.record)
    drain = remote_method(Watchdog.drain)
    fail = remote_method(Watchdog.fail)
    failure = remote_method(Watchdog.failure)
    clear_failure = remote_method(Watchdog.clear_failure)
