"""Incidents are handed out once; of several reasons for a failure the first counts."""

from __future__ import annotations

import asyncio

from actors.supervision.incidents import IncidentLog, RunFailure


def test_incidents_are_handed_out_once_and_in_order() -> None:
    async def scenario() -> None:
        log = IncidentLog()
        await log.record("gate", "lost")
        await log.record("scorer", "back")
        drained = await log.drain()
        assert [(one.who, one.what) for one in drained] == [("gate", "lost"), ("scorer", "back")]
        assert drained[0].unix_time <= drained[1].unix_time
        assert await log.drain() == []

    asyncio.run(scenario())


def test_the_first_failure_is_kept_until_the_run_goes_on() -> None:
    async def scenario() -> None:
        log = IncidentLog()
        assert await log.failure() is None
        first, second = RunFailure("the disk is full"), RunFailure("a file is missing")
        await log.fail(first)
        await log.fail(second)
        assert await log.failure() == first
        await log.clear_failure()
        assert await log.failure() is None
        await log.fail(second)
        assert await log.failure() == second

    asyncio.run(scenario())
