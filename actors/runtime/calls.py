"""Waiting for remote answers: never without a limit, never without a name."""

from __future__ import annotations

import functools
from typing import Any

import ray
from ray.exceptions import GetTimeoutError

START_TIMEOUT_S = 600.0
"""Longest wait for an engine to load its model."""

ANSWER_S = 300.0
"""Longest wait for an actor that only passes messages."""


def ask(reference: Any, who: str, timeout: float = ANSWER_S) -> Any:
    """The value of ``reference``. Raises TimeoutError naming ``who`` after ``timeout`` seconds."""
    try:
        return ray.get(reference, timeout=timeout)
    except GetTimeoutError:
        raise TimeoutError(f"{who} did not answer within {timeout:.0f} s") from None


class ActorByName:
    """The handle of an actor of this job by its name.

    As an argument of an actor that Ray may restart: a handle itself would be kept in the object
    store, and could be lost when it is needed.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, method: str) -> Any:
        if method.startswith("_"):
            raise AttributeError(method)
        return getattr(_actor(self._name), method)


@functools.cache
def _actor(name: str) -> Any:
    return ray.get_actor(name)


def restarted() -> bool:
    """Whether Ray has restarted the actor that asks. False outside of actors."""
    if not ray.is_initialized() or ray.get_runtime_context().get_actor_id() is None:
        return False
    return bool(ray.get_runtime_context().was_current_actor_reconstructed)


def first_line(error: BaseException) -> str:
    """What an error says, in one line: the last of a remote traceback, which names the cause."""
    lines = str(error).strip().splitlines()
    # Ray goes on with every reason for which a process may have died.
    said = lines[-1].strip().partition(" Worker exit type")[0] if lines else ""
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def coordinator_actor(cls: type, name: str) -> Any:
    """An actor that only passes messages. Ray restarts it and asks it again; what it held, it has
    forgotten."""
    return ray.remote(cls).options(
        name=name, num_cpus=0, max_concurrency=1000, max_restarts=-1, max_task_retries=-1
    )
