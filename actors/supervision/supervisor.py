"""Supervisor: asks actors for signs of life and reports those that give none in time.

Ray restarts an actor that dies, but not one that hangs. The watchdog, the driver and the generator
pool each supervise other actors with it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

LOOK_S = 0.5
"""Longest pause between two looks of :meth:`Supervisor.run`, in seconds: an answer is noticed that
late."""


def sign_of_life(actor: Any) -> Callable[[], Future[Any]]:
    """A probe that every actor answers as soon as it gets to it."""
    return lambda: actor.__ray_ready__.remote().future()


def ignore(answer: Any) -> None:
    """Any answer will do."""


@dataclass
class Watched:
    """An actor, and what is expected of it at present."""

    limit_s: float
    probe: Callable[[], Future[Any]]
    on_lost: Callable[[BaseException], None]
    on_answer: Callable[[Any], None]
    question: Future[Any] | None = None
    at_work: bool = False
    since: float = -math.inf
    """When the last question was asked or the last piece of work began."""


class Supervisor:
    """Its owner calls :meth:`look` again and again, or awaits :meth:`run`.

    ``interval_s`` is the time from one question to the next, in seconds; an actor has no more than
    one open question at a time.
    """

    def __init__(self, interval_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.interval_s, self.clock = interval_s, clock
        self._watched: dict[Hashable, Watched] = {}

    def register(
        self,
        key: Hashable,
        limit_s: float,
        probe: Callable[[], Future[Any]],
        on_lost: Callable[[BaseException], None],
        on_answer: Callable[[Any], None] = ignore,
    ) -> None:
        """Ask ``probe`` from now on, until :meth:`unregister`; replaces what ``key`` stood for.

        ``on_lost`` is given the error that came as an answer, or a TimeoutError that says what has
        taken longer than ``limit_s`` seconds. If it leaves the actor registered, the next question
        follows as after an answer.
        """
        self._watched[key] = Watched(limit_s, probe, on_lost, on_answer)

    def unregister(self, key: Hashable) -> None:
        """Expect nothing more of ``key``, known or not."""
        self._watched.pop(key, None)

    def begin_work(self, key: Hashable) -> None:
        """The actor begins a piece of work, which may take ``limit_s`` seconds like an answer. It
        is asked nothing meanwhile, for it would answer only afterwards."""
        watched = self._watched[key]
        watched.question, watched.at_work, watched.since = None, True, self.clock()

    def end_work(self, key: Hashable) -> None:
        """The work of ``key``, if that is known, is done."""
        if key in self._watched:
            self._watched[key].at_work = False

    async def run(self) -> None:
        """Look again and again, for ever."""
        while True:
            await asyncio.sleep(min(self.interval_s, LOOK_S))
            self.look()

    def look(self) -> None:
        """Take the answers that have come, report who is lost, and ask whose turn it is. Waits for
        nobody."""
        for watched in [*self._watched.values()]:
            _look_at(watched, self.clock(), self.interval_s)


def _look_at(watched: Watched, now: float, interval_s: float) -> None:
    if watched.question is not None and watched.question.done():
        answer, watched.question = watched.question, None
        error = answer.exception()
        if error is not None:
            return watched.on_lost(error)
        watched.on_answer(answer.result())
    if watched.question is None and not watched.at_work:
        if now - watched.since >= interval_s:
            watched.question, watched.since = watched.probe(), now
    elif now - watched.since > watched.limit_s:
        what = "stuck" if watched.at_work else "gave no sign of life"
        watched.question, watched.at_work, watched.since = None, False, now
        watched.on_lost(TimeoutError(f"{what} for {watched.limit_s:.0f} s"))
