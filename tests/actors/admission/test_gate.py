"""Waiting at the gate: nobody waits for room that cannot come."""

from __future__ import annotations

import asyncio

import pytest

from actors.admission import gate as gate_module
from actors.admission.gate import BATCHES_WITHOUT_STEP, Gate
from actors.admission.ledger import LOST_KEPT, Outcome
from actors.supervision.incidents import IncidentLog, RunFailure
from tests.support.direct_client import DirectClient
from unisd_core.common.errors import UserError


class Stream:
    """A stream that asks for its slots in order, as Generate does."""

    def __init__(self, gate: Gate, number: int):
        self.gate, self.number, self.slot = gate, number, -1

    async def admit(self, count: int):
        self.slot += 1
        return await self.gate.admit(self.number, self.slot, count)


UIDS = [f"row-{row}" for row in range(20)]


def new_gate(**changes: float) -> Gate:
    settings = {"rows": len(UIDS), "batch": 4, "staleness": 0, "steps": 3, "seed": 0, **changes}
    return Gate(**settings, watchdog=DirectClient(IncidentLog()))


async def opened(**changes: float) -> tuple[Gate, Stream]:
    gate = new_gate(**changes)
    return gate, await new_stream(gate)


async def new_stream(gate: Gate) -> Stream:
    return Stream(gate, await gate.open_stream(UIDS))


def visits(admitted):
    return [admission.visit for admission in admitted]


def came(admitted, version=0):
    """What the agreement stage tells of rows that it keeps."""
    return dict.fromkeys(visits(admitted), version)


def lost(admitted, reason):
    return dict.fromkeys(visits(admitted), reason)


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


def test_the_end_releases_all_waiters():
    async def scenario():
        gate, stream = await opened(steps=1)
        admitted = await stream.admit(4)
        waiting = [asyncio.create_task(stream.admit(4)) for _ in range(3)]
        await gate.consume(visits(admitted))
        assert await asyncio.wait_for(asyncio.gather(*waiting), 1) == [[], [], []]

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


def test_a_run_that_only_lost_rows_may_go_on_when_its_learners_start_again():
    async def scenario():
        gate, stream = await opened()
        state = await gate.state()
        with pytest.raises(UserError):
            while True:
                await gate.close(lost(await stream.admit(4), "no answer"), Outcome.FAILED)
        await gate.restore(state)
        assert await gate.watchdog.actor.failure() is None
        assert len(await (await new_stream(gate)).admit(4)) == 4

    asyncio.run(scenario())


def test_learners_start_without_the_watchdog_where_it_knows_of_no_failure():
    class Hung(IncidentLog):
        async def clear_failure(self) -> None:
            await asyncio.Event().wait()

    async def scenario():
        door = new_gate()
        door.watchdog = DirectClient(Hung())
        assert await asyncio.wait_for(door.restore(None), 1) == 3

    asyncio.run(scenario())


def test_a_run_that_is_aborted_stays_so_when_its_learners_start_again():
    async def scenario():
        gate, stream = await opened()
        state = await gate.state()
        await stream.admit(4)
        waiting = asyncio.create_task(stream.admit(4))
        await asyncio.sleep(0.01)
        await gate.abort("too many bad batches")
        with pytest.raises(UserError, match="too many bad batches"):
            await asyncio.wait_for(waiting, 1)
        await gate.restore(state)
        again = await new_stream(gate)
        with pytest.raises(UserError, match="too many bad batches"):
            await asyncio.wait_for(again.admit(4), 1)
        assert await gate.watchdog.actor.failure() == RunFailure("too many bad batches")

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


def test_restore_returns_to_the_checkpoint():
    async def scenario():
        gate, stream = await opened()
        first = await stream.admit(4)
        await gate.consume(visits(first))
        state = await gate.state()
        second = await stream.admit(4)
        await gate.consume(visits(second))
        assert await gate.restore(state) == 3
        stream = await new_stream(gate)
        counters = await gate.counters()
        assert (counters["version"], counters["consumed"]) == (1, 4)
        assert [a.visit.position for a in await stream.admit(4)] == [
            a.visit.position for a in second
        ]

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


def test_a_run_that_stops_before_it_began_releases_its_waiters():
    async def scenario():
        gate, stream = await opened(opened=False)
        waiting = asyncio.create_task(stream.admit(4))
        await asyncio.sleep(0.01)
        await gate.stop_now()
        assert await asyncio.wait_for(waiting, 1) == []

    asyncio.run(scenario())


def test_a_ledger_of_another_order_is_refused():
    async def scenario():
        state = await new_gate().state()
        with pytest.raises(ValueError, match="another order of prompts"):
            await new_gate(batch=2).restore(state)

    asyncio.run(scenario())


def test_a_run_that_stops_after_this_step_takes_one_more_and_admits_nothing():
    async def scenario():
        gate, stream = await opened(staleness=1, steps=9)
        first = await stream.admit(4)
        second = await stream.admit(4)
        await gate.arrive(came(first + second), {})
        await gate.stop_after_this_step()
        waiting = asyncio.create_task(stream.admit(4))
        assert await gate.consume(visits(first)) == 1
        assert await asyncio.wait_for(waiting, 1) == []
        assert (await gate.counters())["in_flight"] == 4

    asyncio.run(scenario())


def test_a_group_that_starts_again_after_the_end_was_moved_is_told_so():
    async def scenario():
        gate, stream = await opened(steps=9)
        first = await stream.admit(4)
        await gate.arrive(came(first), {})
        await gate.stop_after_this_step()
        assert await gate.consume(visits(first)) == 1
        assert await gate.restore(await gate.state()) == 1
        again = await new_stream(gate)
        assert await asyncio.wait_for(again.admit(4), 1) == []

    asyncio.run(scenario())


def test_a_run_that_stops_now_admits_nothing_and_leaves_open_what_is_in_flight():
    async def scenario():
        gate, stream = await opened(staleness=1)
        first = await stream.admit(4)
        second = await stream.admit(4)
        waiting = asyncio.create_task(stream.admit(4))
        await asyncio.sleep(0.01)
        await gate.stop_now()
        assert await asyncio.wait_for(waiting, 1) == []
        await gate.arrive(came(first), {})
        assert await gate.consume(visits(first)) == 0, "the learner ends after the step it is at"
        counters = await gate.counters()
        assert (counters["consumed"], counters["in_flight"]) == (4, len(second))
        resumed = new_gate(staleness=1)
        assert await resumed.restore(await gate.state()) == 3
        again = await new_stream(resumed)
        assert [admission.visit.position for admission in await again.admit(4)] == [4, 5, 6, 7]

    asyncio.run(scenario())


def test_a_restarted_gate_refuses_until_it_has_a_ledger(monkeypatch):
    async def scenario():
        gate, stream = await opened(staleness=1)
        before = [*await stream.admit(4), *await stream.admit(4)]
        await gate.consume(visits(before[:4]))
        saved = await gate.state()
        monkeypatch.setattr(gate_module, "restarted", lambda: True)
        fresh = new_gate(staleness=1)
        for call in (fresh.open_stream(UIDS), fresh.consume(visits(before[4:])), fresh.state()):
            with pytest.raises(RuntimeError, match="forgotten the ledger"):
                await call
        await fresh.restore(saved)
        number = await fresh.open_stream(UIDS)
        assert number != stream.number
        assert await fresh.admit(stream.number, 2, 4) == [], "the old stream gets nothing more"
        again = await fresh.admit(number, 0, 4)
        assert [admission.visit.position for admission in again] == [4, 5, 6, 7]
        kept = await fresh.arrive(came(before[4:], version=1), {})
        assert kept == [False] * 4, "rows of the old stream are refused"

    asyncio.run(scenario())


def test_a_broken_stream_is_told_to_the_learner_until_the_next_one_opens():
    async def scenario():
        gate, stream = await opened(staleness=1)
        await stream.admit(4)
        assert not await gate.stream_broke(stream.number - 1, "an older one")
        assert await gate.last_step() == 3
        assert await gate.stream_broke(stream.number, "the agreement stage was lost")
        with pytest.raises(RuntimeError, match="agreement stage was lost"):
            await gate.last_step()
        await gate.restore(await gate.state())
        assert await gate.last_step() == 3, "a learner that starts again does not care"
        assert not await gate.stream_broke(stream.number, "late news")

    asyncio.run(scenario())
