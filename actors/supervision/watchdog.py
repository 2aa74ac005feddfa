"""The watch: keeps the list of incidents, replaces workers that are stuck in their work, and tells
the gate when a stage that keeps state is lost.

Ray restarts what dies; it does not see what hangs. A worker that says when it begins and ends a
piece of work is killed when it takes longer than it may, and Ray restarts it. Nor does Ray Data see
a stage die that has nothing to do: rows it held are gone, and the stream would wait for them.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError

from actors.runtime.calls import ActorClient, first_line, remote_method
from actors.runtime.metrics import record

INTERVAL_S = 1.0
"""Seconds between two looks at who is late."""


@dataclass(frozen=True)
class Incident:
    """Something that went wrong or was mended: when (Unix time), to whom, what."""

    unix_time: float
    who: str
    what: str


@dataclass(frozen=True)
class Work:
    """A piece of work that is under way."""

    who: str
    actor: Any
    deadline: float
    limit_s: float


class Watchdog:
    """Async actor that everybody reports to."""

    def __init__(self) -> None:
        self.incidents: list[Incident] = []
        self.work: dict[str, Work] = {}
        self.failed: str | None = None
        self.looking: asyncio.Task[None] | None = None
        self.attending: set[asyncio.Task[None]] = set()
        self.begun: Counter[str] = Counter()
        self.followed: dict[str, asyncio.Task[None]] = {}

    async def note(self, who: str, what: str) -> None:
        """Remember an incident."""
        self.incidents.append(Incident(time.time(), who, what))
        record("incidents", 1)

    async def take(self) -> list[Incident]:
        """The incidents since the last call, which the caller keeps from now on."""
        taken, self.incidents = self.incidents, []
        return taken

    async def fail(self, reason: str) -> None:
        """A stage ends its stream for a reason a user can mend, of which Ray Data passes on the
        text only."""
        self.failed = self.failed or reason

    async def failure(self) -> str | None:
        """The first such reason."""
        return self.failed

    async def begin(self, key: str, who: str, actor: Any, limit_s: float) -> None:
        """``actor`` starts a piece of work, which it may be at for ``limit_s`` seconds. Between two
        of them it must answer a question within that time.

        ``key`` tells actors apart; one that begins again has ended what it did before.
        """
        self.work[key] = Work(who, actor, time.monotonic() + limit_s, limit_s)
        self.begun[key] += 1
        if key not in self.followed:
            self.followed[key] = asyncio.create_task(self._follow(key, self.work[key]))
        if self.looking is None:
            self.looking = asyncio.create_task(self._look())

    async def end(self, key: str) -> None:
        """The work that began under ``key`` is done."""
        self.work.pop(key, None)

    async def attend(self, who: str, actor: Any, gate: Any, stream: int, limit_s: float) -> None:
        """``actor`` holds rows of ``stream``; the gate is told when it is dead, or gives no sign of
        life for ``limit_s`` seconds."""
        task = asyncio.create_task(self._attend(who, actor, gate, stream, limit_s))
        self.attending.add(task)
        task.add_done_callback(self.attending.discard)

    async def _attend(self, who: str, actor: Any, gate: Any, stream: int, limit_s: float) -> None:
        try:
            while True:
                async with asyncio.timeout(limit_s):
                    await actor.__ray_ready__.remote()
                await asyncio.sleep(INTERVAL_S)
        except (RayError, TimeoutError) as error:
            reason = f"lost ({first_line(error)})"
            if await gate.stream_broke.remote(stream, f"the {who} was {reason}"):
                await self.note(who, f"{reason}; the stream begins again")

    async def _follow(self, key: str, one: Work) -> None:
        """Ask whether ``one``'s actor is there while it has nothing to do. Until the first work of
        its successor it is left alone, which may take long to start."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            if key in self.work:
                continue
            begun = self.begun[key]
            try:
                async with asyncio.timeout(one.limit_s):
                    await one.actor.__ray_ready__.remote()
            except RayError:
                break  # Ray restarts it
            except TimeoutError:
                # Behind new work a question waits as long as that.
                if self.begun[key] == begun:
                    await self._replace(one, "gave no sign of life")
                    break
        del self.followed[key]

    async def _replace(self, work: Work, why: str) -> None:
        await self.note(work.who, f"{why} for {work.limit_s:.0f} s; replaced")
        # Whoever is stopped or busy cannot answer; the node's raylet ends it.
        await asyncio.to_thread(ray.kill, work.actor, no_restart=False)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            now = time.monotonic()
            for key, work in [*self.work.items()]:
                if work.deadline < now and self.work.get(key) is work:
                    del self.work[key]
                    follower = self.followed.pop(key, None)
                    if follower is not None:
                        follower.cancel()
                    await self._replace(work, "stuck")


class WatchdogClient(ActorClient):
    """What stages, learners, the pool and the driver tell and ask the watch."""

    who = "the watch"

    note = remote_method(Watchdog.note)
    take = remote_method(Watchdog.take)
    fail = remote_method(Watchdog.fail)
    failure = remote_method(Watchdog.failure)
    begin = remote_method(Watchdog.begin)
    end = remote_method(Watchdog.end)
    attend = remote_method(Watchdog.attend)
