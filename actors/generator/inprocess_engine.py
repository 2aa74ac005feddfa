"""In-process engine: vLLM's synchronous engine on a thread, with the interface of its asynchronous
one.

The asynchronous engine computes in a process of its own, which imports vLLM and torch once more.
On a small CPU that takes a third of the time until the first token, and half a gigabyte.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import queue
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from typing import Any

STOP_S = 30.0
"""Seconds that :meth:`EngineThread.shutdown` waits for the step under way."""


class EngineDeadError(RuntimeError):
    """The engine has failed and answers no more requests; named after vLLM's own error."""


class EngineThread:
    """The part of vLLM's ``AsyncLLM`` that ``engine.py`` uses, computed by an ``LLMEngine``.

    Only the thread touches the engine. Between two engine steps it makes the calls that came in
    since, in their order.
    """

    def __init__(self, on_step: Callable[[], None]) -> None:
        """``on_step`` is called after each engine step, on the thread."""
        self._on_step = on_step
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._sampling: dict[str, Future[Any]] = {}
        self._names = itertools.count()
        self._engine: Any = None
        self._paused = False
        self._stopped = False
        self._error: BaseException | None = None
        self._failing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    async def start(self, build: Callable[[], Any]) -> None:
        """Start the thread, which calls ``build`` for its ``LLMEngine``; raises its errors."""

        def first() -> None:
            self._engine = build()

        self._thread.start()
        await self._call(first)

    async def generate(
        self, prompt: Any, parameters: Any, request_id: str, lora_request: Any = None
    ) -> AsyncIterator[Any]:
        """Yield the finished output of one request; aborts it when the caller is cancelled.

        Raises the engine's own error for a request that it refuses, EngineDeadError when the engine
        has failed.
        """
        name, sampled = f"{next(self._names)}/{request_id}", Future[Any]()

        def add() -> None:
            self._engine.add_request(name, prompt, parameters, lora_request=lora_request)

        self._sampling[name] = sampled
        try:
            await self._call(add)
            output = await asyncio.wrap_future(sampled)
        except asyncio.CancelledError:
            self._calls.put((lambda: self._engine.abort_request([name]), Future()))
            raise
        finally:
            del self._sampling[name]
        yield output

    def get_num_unfinished_requests(self) -> int:
        """Requests that were handed over and not answered."""
        return len(self._sampling)

    async def pause_generation(self, **_: Any) -> None:
        """Make no further engine step; requests stay where they are."""
        await self._call(lambda: self._pause(True))

    async def resume_generation(self) -> None:
        """Continue with all requests."""
        await self._call(lambda: self._pause(False))

    async def collective_rpc(self, method: str, kwargs: dict[str, Any] | None = None) -> list[Any]:
        """Call a method of the engine's workers."""
        return await self._call(lambda: self._engine.collective_rpc(method, kwargs=kwargs))

    async def add_lora(self, request: Any) -> bool:
        """Load an adapter; False when the engine refuses it."""
        return await self._call(lambda: self._engine.add_lora(request))

    async def remove_lora(self, lora_id: int) -> bool:
        """Unload an adapter."""
        return await self._call(lambda: self._engine.remove_lora(lora_id))

    async def check_health(self) -> None:
        """Raises EngineDeadError when the engine has failed."""
        self._raise_if_dead()

    def shutdown(self) -> None:
        """End the thread after the step under way; requests that were not answered fail."""
        self._stopped = True
        self._calls.put((lambda: None, Future()))  # wakes it
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    async def _call(self, function: Callable[[], Any]) -> Any:
        self._raise_if_dead()
        done = Future[Any]()
        self._calls.put((function, done))
        if self._error is not None:  # the thread has ended meanwhile
            self._fail_all()
        return await asyncio.wrap_future(done)

    def _pause(self, paused: bool) -> None:
        self._paused = paused

    def _raise_if_dead(self) -> None:
        if self._error is not None:
            raise EngineDeadError(f"the engine has failed: {self._error!r}") from self._error

    def _run(self) -> None:
        try:
            while not self._stopped:
                if not self._do_next():
                    self._step()
            self._error = RuntimeError("it was stopped")
        except BaseException as error:
            self._error = error
        self._fail_all()

    def _do_next(self) -> bool:
        """Make the next call, if there is one; wait for it while there is nothing to compute."""
        idle = self._paused or self._engine is None or not self._engine.has_unfinished_requests()
        try:
            function, done = self._calls.get(block=idle)
        except queue.Empty:
            return False
        if done.set_running_or_notify_cancel():
            try:
                done.set_result(function())
            except Exception as error:
                done.set_exception(error)
        return True

    def _step(self) -> None:
        for output in self._engine.step():
            sampled = self._sampling.get(output.request_id)
            if sampled is not None and sampled.set_running_or_notify_cancel():
                sampled.set_result(output)
        self._on_step()

    def _fail_all(self) -> None:
        error = EngineDeadError(f"the engine has failed: {self._error!r}")
        with self._failing:
            waiting = list(self._sampling.values())
            with contextlib.suppress(queue.Empty):
                while True:
                    waiting.append(self._calls.get_nowait()[1])
            for future in waiting:
                if not future.done() and future.set_running_or_notify_cancel():
                    future.set_exception(error)
