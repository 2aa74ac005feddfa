"""The thread that drives a synchronous engine: nobody waits for ever, whatever becomes of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from actors.generator.inprocess_engine import EngineDeadError, EngineThread


class Counting:
    """An engine whose requests take as many steps as their parameters say. A step waits for
    ``may_step``, and fails with ``failure`` if there is one."""

    def __init__(self) -> None:
        self.left: dict[str, int] = {}
        self.batches: list[int] = []
        self.may_step = threading.Event()
        self.may_step.set()
        self.failure: Exception | None = None

    def add_request(self, name: str, prompt: str, steps: int, lora_request: Any = None) -> None:
        if not prompt:
            raise ValueError("an empty prompt")
        self.left[name] = steps

    def has_unfinished_requests(self) -> bool:
        return bool(self.left)

    def abort_request(self, names: list[str]) -> None:
        for name in names:
            self.left.pop(name, None)

    def step(self) -> list[Any]:
        self.may_step.wait(30)
        if self.failure is not None:
            raise self.failure
        self.batches.append(len(self.left))
        self.left = {name: steps - 1 for name, steps in self.left.items()}
        done = [name for name, steps in self.left.items() if steps == 0]
        for name in done:
            del self.left[name]
        return [SimpleNamespace(request_id=name) for name in done]

    def collective_rpc(self, method: str, kwargs: dict[str, Any] | None) -> list[Any]:
        if method == "fails":
            raise KeyError(method)
        return [(method, kwargs, sum(self.left.values()))]


def on_thread(scenario: Callable[[EngineThread, Counting], Awaitable[None]]) -> int:
    """Run a scenario; returns how many engine steps were counted."""
    steps: list[None] = []

    async def run() -> None:
        engine = Counting()
        thread = EngineThread(lambda: steps.append(None))
        await thread.start(lambda: engine)
        try:
            await scenario(thread, engine)
        finally:
            engine.may_step.set()
            thread.shutdown()
        with pytest.raises(EngineDeadError, match="stopped"):
            await thread.check_health()

    asyncio.run(asyncio.wait_for(run(), 60))
    return len(steps)


async def sample(thread: EngineThread, prompt: str, steps: int) -> str:
    return [output async for output in thread.generate(prompt, steps, prompt)][0].request_id


def test_each_gets_its_own_answer() -> None:
    async def scenario(thread: EngineThread, engine: Counting) -> None:
        asked = [f"p{number}" for number in range(20)]
        names = await asyncio.gather(*(sample(thread, p, 1 + n % 5) for n, p in enumerate(asked)))
        assert [name.partition("/")[2] for name in names] == asked
        twice = await asyncio.gather(sample(thread, "same", 2), sample(thread, "same", 1))
        assert len(set(twice)) == 2
        assert thread.get_num_unfinished_requests() == 0

    assert on_thread(scenario) >= 7


def test_while_it_is_paused_requests_gather_and_start_together() -> None:
    async def scenario(thread: EngineThread, engine: Counting) -> None:
        await thread.pause_generation(mode="keep", clear_cache=False)
        tasks = [asyncio.create_task(sample(thread, f"p{number}", 3)) for number in range(5)]
        while thread.get_num_unfinished_requests() < 5:
            await asyncio.sleep(0.001)
        # Weights are replaced in such a pause: the call is answered, and no step is taken.
        answer = await thread.collective_rpc("merge", kwargs={"folder": "v1"})
        assert answer == [("merge", {"folder": "v1"}, 15)]
        assert engine.batches == []
        await thread.resume_generation()
        await asyncio.gather(*tasks)
        assert engine.batches == [5, 5, 5]

    assert on_thread(scenario) == 3


def test_a_refused_request_or_call_is_its_callers_alone() -> None:
    async def scenario(thread: EngineThread, engine: Counting) -> None:
        other = asyncio.create_task(sample(thread, "fine", 3))
        with pytest.raises(ValueError, match="empty prompt"):
            await sample(thread, "", 1)
        with pytest.raises(KeyError, match="fails"):
            await thread.collective_rpc("fails")
        await other
        await thread.check_health()
        assert thread.get_num_unfinished_requests() == 0

    on_thread(scenario)


def test_who_gives_up_frees_the_engine_of_it() -> None:
    async def scenario(thread: EngineThread, engine: Counting) -> None:
        task = asyncio.create_task(sample(thread, "long", 10**9))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await sample(thread, "short", 1)
        assert engine.left == {}

    on_thread(scenario)


def test_a_failed_step_fails_all_who_wait_and_all_who_come_later() -> None:
    async def run() -> None:
        engine, thread = Counting(), EngineThread(lambda: None)
        await thread.start(lambda: engine)
        engine.may_step.clear()
        sampling = [asyncio.create_task(sample(thread, f"p{number}", 9)) for number in range(3)]
        await asyncio.sleep(0.05)
        call = asyncio.create_task(thread.add_lora(None))
        await asyncio.sleep(0)
        engine.failure = RuntimeError("no memory")
        engine.may_step.set()
        for ended in await asyncio.gather(*sampling, call, return_exceptions=True):
            assert isinstance(ended, EngineDeadError) and "no memory" in str(ended)
        for later in (sample(thread, "late", 1), thread.check_health(), thread.remove_lora(1)):
            with pytest.raises(EngineDeadError, match="no memory"):
                await later
        thread.shutdown()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_what_does_not_load_says_so() -> None:
    def build() -> Any:
        raise OSError("no such model")

    async def run() -> None:
        thread = EngineThread(lambda: None)
        with pytest.raises(OSError, match="no such model"):
            await thread.start(build)
        thread.shutdown()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_stopping_does_not_wait_for_requests() -> None:
    async def run() -> None:
        engine, thread = Counting(), EngineThread(lambda: None)
        await thread.start(lambda: engine)
        task = asyncio.create_task(sample(thread, "long", 10**9))
        await asyncio.sleep(0.05)
        thread.shutdown()
        with pytest.raises(EngineDeadError, match="stopped"):
            await task

    asyncio.run(asyncio.wait_for(run(), 60))
