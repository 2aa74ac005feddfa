"""Idle time: how long the learner, and how long the generators, had nothing to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class IdleShares:
    """Shares, in [0, 1], of ``seconds`` during which the learner lacked rows for its next batch,
    and during which nothing was sampled or scored because the staleness limit left no room."""

    learner: float
    generators: float
    seconds: float


class IdleTimer:
    """Adds up both shares from event to event; ``clock`` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.began = self.seen = clock()
        self.learner = self.generators = False
        self.learner_s = self.generators_s = 0.0

    def note(self, learner: bool, generators: bool) -> None:
        """Note whether learner and generators are idle from now on."""
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
