"""Waiting at the gate: nobody waits for room that cannot come."""

from __future__ import annotations

import asyncio

import pytest

from actors.admission.gate import BATCHES_WITHOUT_STEP
from actors.admission.ledger import LOST_KEPT, Outcome
from tests.support.gates import UIDS, came, lost, new_stream, opened, visits
from unisd_core.common.errors import UserError


def test_waits_for_a_step_then_admits_the_next_batch():
    async def scenario():
        gate, stream = await opened()
        first = await stream.admit(4)
        waiting = asyncio.create_task(stream.admit(4))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await gate.arrive(came(first), {})
        await asyncio.sleep(0.01)
        assert not waiting.done(), "a complete batch is waiting for its step, not for more rows"
        assert await gate.consume(visits(first)) == 3
        assert gate.ledger.version == 1
        second = await asyncio.wait_for(waiting, 1)
        assert [admission.min_version for admission in second] == [1] * 4

    asyncio.run(scenario())


def test_rows_lost_to_a_filter_are_replaced_before_the_step():
    async def scenario():
        gate, stream = await opened()
        first = await stream.admit(4)
        waiting = asyncio.create_task(stream.admit(4))
        await gate.arrive(came(first[:3]), lost(first[3:], "truncated"))
        replacement = await asyncio.wait_for(waiting, 1)
        assert len(replacement) == 1 and replacement[0].min_version == 0
        await gate.consume(visits(first[:3] + replacement))
        assert (await gate.counters())["reasons"] == {"filtered: truncated": 1}

    asyncio.run(scenario())


def test_a_filter_that_drops_everything_ends_in_an_error_that_says_so():
    async def scenario():
        gate, stream = await opened()
        with pytest.raises(UserError, match=r"without a training step .*truncated.*filter"):
            for _ in range(BATCHES_WITHOUT_STEP * 4 + 2):
                admitted = await asyncio.wait_for(stream.admit(4), 1)
                await gate.arrive({}, lost(admitted, "truncated"))

    asyncio.run(scenario())


@pytest.mark.parametrize("reason", ["empty completion", "truncated", "no answer to read"])
def test_rows_that_only_get_lost_are_remembered_one_by_one(reason):
    async def scenario():
        gate, stream = await opened()
        with pytest.raises(UserError):
            while True:
                admitted = await asyncio.wait_for(stream.admit(4), 1)
                await gate.arrive({}, lost(admitted, reason))
        failure = await gate.watchdog.actor.failure()
        assert reason in failure.reason
        assert [row.position for row in failure.lost] == list(range(84 - LOST_KEPT, 84))
        assert {row.uid for row in failure.lost} == set(UIDS)
        assert {row.reason for row in failure.lost} == {reason}

    asyncio.run(scenario())


def test_a_step_and_the_rows_it_left_out_are_one_event():
    async def scenario():
        gate, stream = await opened()
        first = visits(await stream.admit(4))
        await gate.arrive(dict.fromkeys(first, 0), {})
        waiting = asyncio.create_task(stream.admit(4))
        await gate.consume(first[:3], {first[3]: "not finite: x"})
        following = await asyncio.wait_for(waiting, 1)
        assert [admission.min_version for admission in following] == [1] * 4
        counters = await gate.counters()
        assert (counters["consumed"], counters["failed"]) == (3, 1)
        assert counters["reasons"] == {"failed: not finite: x": 1}

    asyncio.run(scenario())


def test_a_new_stream_hands_out_again_what_the_old_one_left_open():
    async def scenario():
        gate, stream = await opened()
        lost = await stream.admit(4)
        stream = await new_stream(gate)
        again = await asyncio.wait_for(stream.admit(4), 1)
        assert [a.visit.position for a in again] == [a.visit.position for a in lost]
        assert await gate.arrive(came(lost), {}) == [False] * 4
        assert await gate.arrive(came(again), {}) == [True] * 4
        await gate.consume(visits(again))
        assert (await gate.counters())["consumed"] == 4

    asyncio.run(scenario())


def test_a_new_stream_goes_on_with_the_scale_of_the_last_step():
    async def scenario():
        gate, stream = await opened()
        await gate.restore(None, 0.25)
        stream = await new_stream(gate)
        first = await stream.admit(4)
        await gate.arrive(came(first), {})
        assert (await gate.counters())["agreement_scale"] == 0.25
        await gate.consume(visits(first), agreement_scale=0.5)
        await new_stream(gate)
        assert (await gate.counters())["agreement_scale"] == 0.5

    asyncio.run(scenario())


def test_slots_are_served_in_their_order_whoever_asks_first():
    async def scenario():
        gate, _ = await opened(staleness=1)
        asked = [3, 0, 2, 1]
        admitted = await asyncio.wait_for(
            asyncio.gather(*(gate.admit(1, slot, 2) for slot in asked)), 1
        )
        positions = dict(
            zip(asked, ([a.visit.position for a in chunk] for chunk in admitted), strict=True)
        )
        assert positions == {0: [0, 1], 1: [2, 3], 2: [4, 5], 3: [6, 7]}

    asyncio.run(scenario())


def test_the_first_batch_of_a_stream_is_alone_until_all_of_it_is_back():
    async def scenario():
        gate, stream = await opened(staleness=2, first_alone=True)
        first, second = await stream.admit(2), await stream.admit(2)
        waiting = asyncio.create_task(stream.admit(2))
        for admitted in (first, second):
            await asyncio.sleep(0.01)
            assert not waiting.done()
            await gate.arrive(came(admitted), {})
        admitted = await asyncio.wait_for(waiting, 1)
        assert len(admitted) == 2
        # From now on nothing waits but for room.
        for _ in range(3):
            assert len(await asyncio.wait_for(stream.admit(2), 1)) == 2
        again = await new_stream(gate)
        for _ in range(2):
            assert len(await asyncio.wait_for(again.admit(2), 1)) == 2
        waiting = asyncio.create_task(again.admit(2))
        await asyncio.sleep(0.01)
        assert not waiting.done(), "a new stream begins like the first"
        waiting.cancel()

    asyncio.run(scenario())


def test_a_row_that_the_first_batch_lost_is_replaced_at_once():
    async def scenario():
        gate, stream = await opened(staleness=2, first_alone=True)
        first, _ = await stream.admit(2), await stream.admit(2)
        waiting = asyncio.create_task(stream.admit(2))
        await gate.close(lost(first[:1], "no answer"), Outcome.FAILED)
        assert len(await asyncio.wait_for(waiting, 1)) == 2

    asyncio.run(scenario())


def test_a_dead_streams_waiter_gets_nothing():
    async def scenario():
        gate, old = await opened()
        await old.admit(4)
        waiting = asyncio.create_task(old.admit(4))
        await asyncio.sleep(0.01)
        new = await new_stream(gate)
        assert await asyncio.wait_for(waiting, 1) == []
        assert len(await asyncio.wait_for(new.admit(4), 1)) == 4

    asyncio.run(scenario())


def test_a_slot_that_is_asked_for_again_is_an_error():
    async def scenario():
        gate, stream = await opened()
        await stream.admit(4)
        with pytest.raises(RuntimeError, match="slot 0 of the stream was asked for twice"):
            await gate.admit(stream.number, 0, 4)

    asyncio.run(scenario())


def test_standing_still_ends_in_an_error_that_says_where_the_rows_are():
    async def scenario():
        _, stream = await opened(stall_timeout_s=0.05)
        await stream.admit(4)
        with pytest.raises(RuntimeError, match="slot 1 waits, 4 rows are being sampled or scored"):
            await stream.admit(4)

    asyncio.run(scenario())


def test_a_closed_gate_admits_nothing_however_long_it_takes():
    async def scenario():
        gate, stream = await opened(stall_timeout_s=0.02, opened=False)
        waiting = asyncio.create_task(stream.admit(4))
        await asyncio.sleep(0.1)
        assert not waiting.done() and not await gate.is_open()
        assert (await gate.idle()).learner == 0.0, "nobody waits for the generators yet"
        await gate.open()
        assert len(await asyncio.wait_for(waiting, 1)) == 4 and await gate.is_open()

    asyncio.run(scenario())
