"""Incident log: what went wrong during a run, or was mended, as all actors report it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from actors.runtime.metrics import record


@dataclass(frozen=True)
class Incident:
    """Something that went wrong or was mended: when (Unix time), to whom, what."""

    unix_time: float
    who: str
    what: str


class IncidentLog:
    """Holds incidents until the driver takes them, and the reason for which a stage gave up."""

    def __init__(self) -> None:
        self._incidents: list[Incident] = []
        self._failure: str | None = None

    async def record(self, who: str, what: str) -> None:
        """Add an incident and count it."""
        self._incidents.append(Incident(time.time(), who, what))
        record("incidents", 1)

    async def drain(self) -> list[Incident]:
        """The incidents since the last call, which are the caller's to keep from now on."""
        drained, self._incidents = self._incidents, []
        return drained

    async def fail(self, reason: str) -> None:
        """A stage ends its stream for a reason that a user can mend. Ray Data would pass on the
        text alone. The first reason counts."""
        self._failure = self._failure or reason

    async def failure(self) -> str | None:
        """The reason of the stage that failed first, None where none did."""
        return self._failure
