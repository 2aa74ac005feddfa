"""Autoscaler: decides when the pool grows, because the learner waits, or shrinks, because the
generators do.
"""

from __future__ import annotations

from actors.admission.idle_time import IdleShares

WAITS = 0.5
"""Share of the time that one side must have waited, the other one less than half of that."""


def wanted_change(idle: IdleShares, replicas: int, joining: int, least: int, most: int) -> int:
    """How many replicas to add: 1, -1 or 0.

    ``replicas`` does not count those that are still ``joining``. The pool never grows beyond
    ``most`` or shrinks below ``least``, and does not change while a replica is joining.
    """
    if joining:
        return 0
    if idle.learner >= WAITS and idle.generators < WAITS / 2 and replicas < most:
        return 1
    if idle.generators >= WAITS and idle.learner < WAITS / 2 and replicas > least:
        return -1
    return 0


def explain(idle: IdleShares) -> str:
    """Why the pool changes, for the list of incidents."""
    return (
        f"in {idle.seconds:.0f} s the learner waited {idle.learner:.0%} of the time, "
        f"the generators {idle.generators:.0%}"
    )
