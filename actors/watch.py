"""The watch: keeps the list of incidents, replaces workers that are stuck in their work, and tells
the gate when a stage that keeps state is lost.

Ray restarts what dies; it does not see what hangs. A worker that says when it begins and ends a
piece of work is killed when it takes longer than it may, and Ray restarts it. Nor does Ray Data see
a stage die that has nothing to do: rows it held are gone, and the stream would wait for them.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError

from actors.calls import first_line
from actors.instruments import record

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


class Watch:
    """Async actor that everybody reports to."""

    def __init__(self) -> None:
        self.incidents: list[Incident] = []
        self.work: dict[str, Work] = {}
        self.failed: str | None = None
        self.looking: asyncio.Task[None] | None = None
        self.attending: set[asyncio.Task[None]] = set()

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
        """``actor`` starts a piece of work, which it may be at for ``limit_s`` seconds.

        ``key`` tells actors apart; one that begins again has ended what it did before.
        """
        self.work[key] = Work(who, actor, time.monotonic() + limit_s, limit_s)
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

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            now = time.monotonic()
            for key, work in [*self.work.items()]:
                if work.deadline < now and self.work.get(key) is work:
                    del self.work[key]
                    await self.note(work.who, f"stuck for {work.limit_s:.0f} s; replaced")
                    # Whoever is stopped or busy cannot answer; the node's raylet ends it.
                    await asyncio.to_thread(ray.kill, work.actor, no_restart=False)
