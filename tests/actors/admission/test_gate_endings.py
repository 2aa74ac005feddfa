"""Ends and new beginnings at the gate: stopped runs, failures, restarts and checkpoints."""

from __future__ import annotations

import asyncio

import pytest

from actors.admission import gate as gate_module
from actors.admission.ledger import Outcome
from actors.supervision.incidents import IncidentLog, RunFailure
from tests.support.direct_client import DirectClient
from tests.support.gates import UIDS, came, lost, new_gate, new_stream, opened, visits
from unisd_core.common.errors import UserError


def test_the_end_releases_all_waiters():
    async def scenario():
        gate, stream = await opened(steps=1)
        admitted = await stream.admit(4)
        waiting = [asyncio.create_task(stream.admit(4)) for _ in range(3)]
        await gate.consume(visits(admitted))
        assert await asyncio.wait_for(asyncio.gather(*waiting), 1) == [[], [], []]

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


class Hung(IncidentLog):
    """A watchdog that is told and never answers."""

    async def fail(self, failure: RunFailure) -> None:
        await asyncio.Event().wait()

    async def clear_failure(self) -> None:
        await asyncio.Event().wait()


def test_a_run_ends_and_begins_again_without_the_watchdog():
    async def scenario():
        gate, stream = await opened()
        gate.watchdog = DirectClient(Hung())
        state = await gate.state()
        with pytest.raises(UserError, match="without a training step"):
            while True:
                admitted = await asyncio.wait_for(stream.admit(4), 1)
                await gate.close(lost(admitted, "no answer"), Outcome.FAILED)
        failure = await gate.failure()
        assert "84 rows in a row" in failure.reason and len(failure.lost) == 64
        assert await asyncio.wait_for(gate.restore(state), 1) == 3
        assert await gate.failure() is None
        await asyncio.wait_for(gate.abort("too many bad batches"), 1)
        assert await gate.failure() == RunFailure("too many bad batches")

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


def test_learners_that_were_replaced_change_nothing_at_the_gate():
    async def scenario():
        gate, stream = await opened(staleness=1)
        old = await gate.begin_incarnation(0)
        await gate.restore(None, incarnation=old)
        stream = await new_stream(gate)
        rows = visits(await stream.admit(4))
        saved = await gate.state(old)
        new = await gate.begin_incarnation(0)
        assert new > old
        await gate.restore(saved, incarnation=new)
        before = gate.ledger.snapshot()
        for late in (
            gate.consume(rows, incarnation=old),
            gate.last_step(old),
            gate.state(old),
            gate.restore(None, incarnation=old),
            gate.abort("too many bad batches", old),
        ):
            with pytest.raises(RuntimeError, match=f"refused: learners of incarnation {old} were"):
                await late
        assert gate.ledger.snapshot() == before and await gate.failure() is None
        told = await gate.watchdog.actor.drain()
        assert len(told) == 5 and {one.who for one in told} == {"gate"}
        assert await gate.last_step(new) == 3
        await gate.abort("too many bad batches", new)
        assert await gate.failure() == RunFailure("too many bad batches")

    asyncio.run(scenario())


def test_a_restarted_gate_begins_later_incarnations_than_the_one_before(monkeypatch):
    async def scenario():
        gate = new_gate()
        incarnations = [await gate.begin_incarnation(0) for _ in range(9)]
        monkeypatch.setattr(gate_module, "restarted", lambda: True)
        # The checkpoint may be of an earlier incarnation than the last one.
        assert await new_gate().begin_incarnation(2) > max(incarnations)

    asyncio.run(scenario())


def test_incarnations_go_on_from_the_checkpoint():
    assert asyncio.run(new_gate().begin_incarnation(7)) == 8
