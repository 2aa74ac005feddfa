"""Incident log: what went wrong during a run, or was mended, as all actors report it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from actors.runtime.metrics import record
from unisd_core.common.visits import LostRow


@dataclass(frozen=True)
class Incident:
    """Something that went wrong or was mended: when (Unix time), to whom, what."""

    unix_time: float
    who: str
    what: str


@dataclass(frozen=True)
class RunFailure:
    """Why a run ended early, where a user can mend it. Ray Data and Ray Train pass on the text of
    errors alone, so that whoever ends a run reports it here."""

    reason: str
    lost: tuple[LostRow, ...] = ()
    """The last rows that were lost before it, where nobody has written them down."""


class IncidentLog:
    """Holds incidents until the driver takes them, and why the run failed."""

    def __init__(self) -> None:
        self._incidents: list[Incident] = []
        self._failure: RunFailure | None = None

    async def record(self, who: str, what: str) -> None:
        """Add an incident and count it."""
        self.note(who, what)

    def note(self, who: str, what: str) -> None:
        """The same, for callers in this process."""
        self._incidents.append(Incident(time.time(), who, what))
        record("incidents", 1)

    async def drain(self) -> list[Incident]:
        """The incidents since the last call, which are the caller's to keep from now on."""
        drained, self._incidents = self._incidents, []
        return drained

    async def fail(self, failure: RunFailure) -> None:
        """The run ends. The first failure counts."""
        self._failure = self._failure or failure

    async def failure(self) -> RunFailure | None:
        """Why the run failed, None where it did not."""
        return self._failure

    async def clear_failure(self) -> None:
        """The run goes on: its learners have started again."""
        self._failure = None
