"""Liveness probe: the driver's check on the actors that coordinate a run, the watchdog included."""

from __future__ import annotations

from functools import partial
from typing import Any

import ray

from actors.supervision.supervisor import Supervisor, sign_of_life


class LivenessProbe:
    """Kills those of ``actors`` (by name) that do not answer within ``limit_s`` seconds, for Ray to
    restart them. Each is asked every ``interval_s`` seconds."""

    def __init__(self, actors: dict[str, Any], limit_s: float, interval_s: float = 5.0) -> None:
        self.supervisor = Supervisor(interval_s)
        self.killed: list[str] = []
        for name, actor in actors.items():
            lost = partial(self._lost, name, actor)
            self.supervisor.register(name, limit_s, sign_of_life(actor), lost)

    def look(self) -> list[str]:
        """One round of questions; returns whom it killed. Does not wait for anybody."""
        self.supervisor.look()
        killed, self.killed = self.killed, []
        return killed

    def _lost(self, name: str, actor: Any, error: BaseException) -> None:
        if not isinstance(error, TimeoutError):
            return  # Ray is restarting it already
        # It stays registered: its successor, which may start slowly, gets the whole time again.
        ray.kill(actor, no_restart=False)
        self.killed.append(name)
