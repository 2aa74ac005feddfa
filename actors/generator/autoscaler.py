"""Autoscaler: the pool grows while the learner waits, and shrinks while the generators do.

A replica that is asked for and finds no room is a demand that Ray's autoscaler sees; it joins when
a node has come. What is decided, and why, is an incident.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ray.exceptions import RayError

from actors.admission.gate import GateClient
from actors.admission.idle_time import IdleShares

WAITS = 0.5
"""Share of the time that one side must have waited, the other one less than half of that."""


def wanted_change(idle: IdleShares, replicas: int, joining: int, least: int, most: int) -> int:
    """1, -1 or 0 replicas more: never beyond the bounds, and none while one is still joining."""
    if joining:
        return 0
    if idle.learner >= WAITS and idle.generators < WAITS / 2 and replicas < most:
        return 1
    if idle.generators >= WAITS and idle.learner < WAITS / 2 and replicas > least:
        return -1
    return 0


async def follow(pool: Any, gate: GateClient, every_s: float) -> None:
    """Ask the gate every ``every_s`` seconds who waited, and let replicas join or leave."""
    settings = pool.config.generator
    while True:
        await asyncio.sleep(every_s)
        try:
            idle = await gate.idle.remote()
        except (RayError, ValueError):
            continue  # there is no gate yet, or it is being restarted
        joining = sum(slot.joining for slot in pool.slots.all)
        replicas = len(pool.slots.all) - joining
        change = wanted_change(idle, replicas, joining, settings.least, settings.most)
        why = (
            f"in {idle.seconds:.0f} s the learner waited {idle.learner:.0%} of the time, "
            f"the generators {idle.generators:.0%}"
        )
        if change > 0:
            await pool.join(why)
        elif change < 0:
            await pool.leave(why)
