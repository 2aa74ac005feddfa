"""What an actor does in the background does not fail in silence."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from actors.runtime.background import BackgroundTasks


def told_of(scenario: Callable[[BackgroundTasks], Coroutine[Any, Any, None]]) -> list[str]:
    told: list[str] = []

    async def whole() -> None:
        await scenario(BackgroundTasks(told.append))
        await asyncio.sleep(0)

    asyncio.run(whole())
    return told


async def broken() -> None:
    await asyncio.sleep(0)
    raise ValueError("no such place")


async def patient() -> None:
    await asyncio.Event().wait()


def test_a_failure_that_nobody_awaits_is_told_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(tasks: BackgroundTasks) -> None:
        tasks.start("the patrol", broken())
        await asyncio.sleep(0.01)

    with caplog.at_level(logging.ERROR):
        assert told_of(scenario) == ["the patrol failed: ValueError: no such place"]
    (record,) = caplog.records
    assert record.exc_info and record.exc_info[0] is ValueError


def test_whoever_awaits_a_task_gets_its_answer_or_its_error() -> None:
    async def answer() -> int:
        return 3

    async def scenario(tasks: BackgroundTasks) -> None:
        assert await tasks.start("the sum", answer()) == 3
        with pytest.raises(ValueError, match="no such place"):
            await tasks.start("the patrol", broken())

    assert told_of(scenario) == ["the patrol failed: ValueError: no such place"]


def test_what_needs_the_task_is_ended_with_the_reason() -> None:
    ended: list[str] = []

    async def end(failure: str) -> None:
        ended.append(failure)

    async def scenario(tasks: BackgroundTasks) -> None:
        tasks.start("the patrol", broken(), end)
        await asyncio.sleep(0.01)

    assert told_of(scenario) == ended == ["the patrol failed: ValueError: no such place"]


def test_tasks_that_are_cancelled_at_the_end_have_not_failed() -> None:
    async def scenario(tasks: BackgroundTasks) -> None:
        task = tasks.start("the patrol", patient())
        await asyncio.sleep(0)
        await tasks.cancel()
        assert task.cancelled()

    assert told_of(scenario) == []


def test_a_task_that_somebody_else_cancels_has_failed() -> None:
    async def scenario(tasks: BackgroundTasks) -> None:
        tasks.start("the patrol", patient()).cancel()
        await asyncio.sleep(0.01)

    assert told_of(scenario) == ["the patrol failed: CancelledError"]
