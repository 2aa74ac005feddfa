"""Waiting at the gate: nobody waits for room that cannot come."""

from __future__ import annotations

import asyncio

import pytest

from actors.gate import BATCHES_WITHOUT_STEP, Gate
from unisd_core.errors import UserError


def gate(**changes: int) -> Gate:
    return Gate(**{"rows": 20, "batch": 4, "staleness": 0, "steps": 3, "seed": 0, **changes})


def visits(tickets):
    return [(ticket.position, ticket.attempt) for ticket in tickets]


def test_waits_for_a_step_then_admits_the_next_batch():
    async def scenario():
        door = gate()
        first = await door.admit(4)
        waiting = asyncio.create_task(door.admit(4))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await door.arrive([(*visit, 0) for visit in visits(first)], [])
        await asyncio.sleep(0.01)
        assert not waiting.done(), "a complete batch is waiting for its step, not for more rows"
        assert await door.consume(visits(first)) == 1
        second = await asyncio.wait_for(waiting, 1)
        assert [ticket.min_version for ticket in second] == [1] * 4

    asyncio.run(scenario())


def test_rows_lost_to_a_filter_are_replaced_before_the_step():
    async def scenario():
        door = gate()
        first = await door.admit(4)
        waiting = asyncio.create_task(door.admit(4))
        kept, lost = visits(first)[:3], visits(first)[3:]
        await door.arrive(
            [(*visit, 0) for visit in kept], [(*visit, "truncated") for visit in lost]
        )
        replacement = await asyncio.wait_for(waiting, 1)
        assert len(replacement) == 1 and replacement[0].min_version == 0
        await door.consume(kept + visits(replacement))
        assert (await door.counters())["reasons"] == {"filtered: truncated": 1}

    asyncio.run(scenario())


def test_the_end_releases_all_waiters():
    async def scenario():
        door = gate(steps=1)
        tickets = await door.admit(4)
        waiting = [asyncio.create_task(door.admit(4)) for _ in range(3)]
        await door.consume(visits(tickets))
        assert await asyncio.wait_for(asyncio.gather(*waiting), 1) == [[], [], []]

    asyncio.run(scenario())


def test_a_filter_that_drops_everything_ends_in_an_error_that_says_so():
    async def scenario():
        door = gate()
        with pytest.raises(UserError, match=r"without a training step .*truncated.*filter"):
            for _ in range(BATCHES_WITHOUT_STEP * 4 + 2):
                tickets = await asyncio.wait_for(door.admit(4), 1)
                await door.arrive([], [(*visit, "truncated") for visit in visits(tickets)])

    asyncio.run(scenario())


def test_a_new_stream_hands_out_again_what_the_old_one_left_open():
    async def scenario():
        door = gate()
        lost = await door.admit(4)
        assert await door.open_stream() == 0
        again = await asyncio.wait_for(door.admit(4), 1)
        assert [t.position for t in again] == [t.position for t in lost]
        assert await door.arrive([(*visit, 0) for visit in visits(lost)], []) == [False] * 4
        assert await door.arrive([(*visit, 0) for visit in visits(again)], []) == [True] * 4
        await door.consume(visits(again))
        assert (await door.counters())["consumed"] == 4

    asyncio.run(scenario())


def test_restore_returns_to_the_checkpoint():
    async def scenario():
        door = gate()
        first = await door.admit(4)
        await door.consume(visits(first))
        state = await door.state()
        second = await door.admit(4)
        await door.consume(visits(second))
        await door.restore(state)
        counters = await door.counters()
        assert (counters["version"], counters["consumed"]) == (1, 4)
        assert [t.position for t in await door.admit(4)] == [t.position for t in second]

    asyncio.run(scenario())
