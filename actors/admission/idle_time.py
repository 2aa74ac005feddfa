"""Idle time: how long the learner, and how long the generators, had nothing to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class IdleShares:
    """Shares, in [0, 1], of ``seconds``: too few rows for the learner's next batch were there, and
    no row was being sampled or scored because the staleness limit left no room."""

    learner: float
    generators: float
    seconds: float


class IdleTimer:
    """Adds up both from one event to the next; ``clock`` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.began = self.seen = clock()
        self.learner = self.generators = False
        self.learner_s = self.generators_s = 0.0

    def note(self, learner: bool, generators: bool) -> None:
        """From now on the learner, or the generators, have nothing to do, or have something."""
        now = self.clock()
        self.learner_s += (now - self.seen) * self.learner
        self.generators_s += (now - self.seen) * self.generators
        self.seen, self.learner, self.generators = now, learner, generators

    def take(self) -> IdleShares:
        """The shares since the last call."""
        self.note(self.learner, self.generators)
        passed = self.seen - self.began
        shares = IdleShares(
            self.learner_s / passed if passed else 0.0,
            self.generators_s / passed if passed else 0.0,
            passed,
        )
        self.began, self.learner_s, self.generators_s = self.seen, 0.0, 0.0
        return shares
