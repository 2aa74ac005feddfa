"""Background tasks: what an actor starts and does not wait for, so that no failure is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from actors.runtime.calls import remote_reason

log = logging.getLogger(__name__)

T = TypeVar("T")


class BackgroundTasks:
    """Owns the tasks of one actor. A failure is logged and given to ``tell`` in one line; whoever
    awaits the task gets it too."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ending = False

    def start(
        self,
        what: str,
        work: Coroutine[Any, Any, T],
        fail: Callable[[str], Coroutine[Any, Any, None]] | None = None,
    ) -> asyncio.Task[T]:
        """Begin ``work``, which failures name ``what``. ``fail`` is given the failure too, where
        the actor cannot do without that work."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(partial(self._look_at, what, fail))
        return task

    async def cancel(self) -> None:
        """End all tasks, and return when they have ended."""
        self._ending = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _look_at(
        self,
        what: str,
        fail: Callable[[str], Coroutine[Any, Any, None]] | None,
        task: asyncio.Task[Any],
    ) -> None:
        self._tasks.discard(task)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None or self._ending:
            return
        failure = f"{what} failed: {remote_reason(error)}"
        log.error(failure, exc_info=error)
        self._tell(failure)
        if fail is not None:
            self.start(f"to end what needs it, after {failure},", fail(failure))
