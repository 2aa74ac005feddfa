"""Calls between actors: never without a time limit, never without a name."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, TypeVar

import ray
from ray.exceptions import GetTimeoutError, RayActorError

log = logging.getLogger(__name__)

P = ParamSpec("P")
Answer = TypeVar("Answer")

START_TIMEOUT_S = 600.0
"""Longest wait for an engine to load its model."""

ANSWER_S = 300.0
"""Longest wait for an actor that only passes messages."""


def get_with_timeout(reference: Any, who: str, timeout: float = ANSWER_S) -> Any:
    """The value of ``reference``. Raises TimeoutError naming ``who`` after ``timeout`` seconds."""
    try:
        return ray.get(reference, timeout=timeout)
    except GetTimeoutError:
        raise TimeoutError(f"{who} did not answer within {timeout:.0f} s") from None


class RemoteMethod(Generic[P, Answer]):
    """A method of an actor, as its client offers it.

    Calling it waits for the answer, at most ``limit_s`` seconds; ``remote`` returns a reference
    to the answer, as Ray's own does, and ``tell`` is for callers who need none.
    """

    def __init__(self, client: ActorClient, name: str, limit_s: float = ANSWER_S) -> None:
        self._client, self._name, self._limit_s = client, name, limit_s

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Answer:
        """The answer. Raises TimeoutError naming the actor, and what the method raised."""
        return self._client.wait(self.remote(*args, **kwargs), self._limit_s)

    def remote(self, *args: P.args, **kwargs: P.kwargs) -> ray.ObjectRef[Answer]:
        """Calls the method and returns at once."""
        return getattr(self._client.handle, self._name).remote(*args, **kwargs)

    def tell(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Calls the method and waits for nothing. What it raises is logged; the loss of the actor
        is not, which its supervisor notices."""
        what = f"{self._client.who} failed at {self._name}"
        reference: Any = self.remote(*args, **kwargs)
        reference.future().add_done_callback(functools.partial(_log_failure, what))

    def within(self, limit_s: float) -> RemoteMethod[P, Answer]:
        """The same method with another time limit, in seconds."""
        return RemoteMethod(self._client, self._name, limit_s)


def _log_failure(what: str, answer: Future[Any]) -> None:
    error = answer.exception()
    if error is not None and not isinstance(error, RayActorError):
        log.error("%s: %s", what, remote_reason(error))


class remote_method(Generic[P, Answer]):
    """Declares a method of an actor's class on the class of its client, with the types it has."""

    def __init__(self, method: Callable[Concatenate[Any, P], Awaitable[Answer]]) -> None:
        self._name = method.__name__

    def __get__(self, client: ActorClient, _: type[ActorClient]) -> RemoteMethod[P, Answer]:
        return RemoteMethod(client, self._name)


class ActorClient:
    """Calls one actor; subclasses name it in ``who`` and list its methods.

    ``actor`` is a handle, or the name under which Ray finds the actor: an argument of an actor
    that Ray may restart must be a name, because a handle would be kept in the object store and
    could be lost when it is needed.
    """

    who: ClassVar[str]

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    @property
    def handle(self) -> Any:
        """Ray's own handle of the actor."""
        return _actor(self._actor) if isinstance(self._actor, str) else self._actor

    def wait(self, reference: ray.ObjectRef[Answer], limit_s: float = ANSWER_S) -> Answer:
        """The answer that ``reference`` stands for. Raises TimeoutError after ``limit_s``
        seconds."""
        return get_with_timeout(reference, self.who, limit_s)


@functools.cache
def _actor(name: str) -> Any:
    return ray.get_actor(name)


def restarted() -> bool:
    """Whether Ray has restarted the actor that asks. False outside of actors."""
    if not ray.is_initialized() or ray.get_runtime_context().get_actor_id() is None:
        return False
    return bool(ray.get_runtime_context().was_current_actor_reconstructed)


def remote_reason(error: BaseException) -> str:
    """``errors.reason`` of an error from another process: its kind, and the last line of a remote
    traceback, which names the cause."""
    lines = str(error).strip().splitlines()
    # Ray goes on with every reason for which a process may have died.
    said = lines[-1].strip().partition(" Worker exit type")[0] if lines else ""
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def coordinator_actor(cls: type, name: str) -> Any:
    """An actor that only passes messages. Ray restarts it without its state and repeats the calls
    it has not answered. Its own arguments must be small: those above 100 kB are put into the object
    store, and nobody keeps them there for a restart."""
    return ray.remote(cls).options(
        name=name, num_cpus=0, max_concurrency=1000, max_restarts=-1, max_task_retries=-1
    )
