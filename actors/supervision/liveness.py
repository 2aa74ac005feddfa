"""Signs of life of the actors that coordinate a run.

Ray restarts an actor that dies, but not one that hangs; these are asked again and again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import ray

INTERVAL_S = 5.0
"""Seconds between an answer and the next question."""


@dataclass
class OpenQuestion:
    """The question that an actor has not answered yet, and when it was asked."""

    question: Any = None
    since: float = 0.0


class LivenessProbe:
    """Kills those of ``actors`` (by name) that do not answer within ``limit_s`` seconds, for Ray to
    restart them."""

    def __init__(self, actors: dict[str, Any], limit_s: float) -> None:
        self.actors, self.limit_s = actors, limit_s
        self.beats = {name: OpenQuestion() for name in actors}

    def look(self) -> list[str]:
        """One round of questions; returns whom it killed. Does not wait for anybody."""
        return [name for name in self.actors if self._is_lost(name, time.monotonic())]

    def _is_lost(self, name: str, now: float) -> bool:
        actor, beat = self.actors[name], self.beats[name]
        if beat.question is None:
            if now - beat.since >= INTERVAL_S:
                beat.question, beat.since = actor.__ray_ready__.remote(), now
        elif ray.wait([beat.question], timeout=0)[0]:
            # An answer, or the error of an actor that is being restarted.
            beat.question, beat.since = None, now
        elif now - beat.since > self.limit_s:
            ray.kill(actor, no_restart=False)
            # Its successor takes a while to start and gets the whole time again.
            beat.question, beat.since = None, now
            return True
        return False
