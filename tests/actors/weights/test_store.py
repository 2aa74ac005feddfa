"""The store pushes in the background, newest first, and says who is late."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from ray.exceptions import ActorUnavailableError

from actors.generator.types import ReplicaReport
from actors.supervision.incidents import IncidentLog
from actors.weights import store as weights
from actors.weights.store import WeightStore
from actors.weights.update import WeightUpdate
from tests.support.direct_client import DirectClient


def update(version: int) -> WeightUpdate:
    return WeightUpdate(version, (), f"sum-{version}")


class SlowPool:
    """A pool whose push ends when the test says so."""

    def __init__(self, error: Exception | None = None):
        self.pushes: list[int] = []
        self.newest: int | None = None
        self.may_end = asyncio.Event()
        self.error = error
        self.lost: Exception | None = None
        self.push = SimpleNamespace(remote=self._push)
        self.pushed = SimpleNamespace(remote=self._pushed)

    async def _pushed(self) -> int | None:
        if self.lost:
            raise self.lost
        return self.newest

    async def _push(self, new: WeightUpdate) -> list[ReplicaReport]:
        await self.may_end.wait()
        if self.error:
            raise self.error
        self.pushes.append(new.version)
        self.newest = new.version
        return [ReplicaReport(0, new.version, new.checksum, 0, 0.0)]


def test_publishing_does_not_wait_and_superseded_versions_are_skipped():
    async def scenario():
        pool = SlowPool()
        store = WeightStore(pool, DirectClient(IncidentLog()))
        for version in (1, 2, 3):
            await asyncio.wait_for(store.publish(update(version), None), 1)
            await asyncio.sleep(0)
        assert (await store.status()).pushed == 0
        pool.may_end.set()
        await store.wait_pushed(1)
        assert pool.pushes == [1, 3]
        status = await store.status()
        assert (status.published, status.pushed, len(status.push_seconds)) == (3, 3, 2)

    asyncio.run(scenario())


def test_an_older_version_is_pushed_too_after_a_rollback():
    async def scenario():
        pool = SlowPool()
        pool.may_end.set()
        store = WeightStore(pool, DirectClient(IncidentLog()))
        for version in (5, 2):
            await store.publish(update(version), None)
            await store.wait_pushed(1)
        assert pool.pushes == [5, 2]

    asyncio.run(scenario())


def test_a_push_that_does_not_end_is_named():
    async def scenario():
        store = WeightStore(SlowPool(), DirectClient(IncidentLog()))
        await store.publish(update(7), None)
        with pytest.raises(TimeoutError, match="version 7 within"):
            await store.wait_pushed(0.05)

    asyncio.run(scenario())


def test_a_failed_push_is_raised_where_somebody_waits():
    async def scenario():
        pool = SlowPool(RuntimeError("replica 1 cannot be restarted"))
        pool.may_end.set()
        store = WeightStore(pool, DirectClient(IncidentLog()))
        await store.publish(update(1), None)
        with pytest.raises(RuntimeError, match="replica 1"):
            await store.wait_pushed(1)
        with pytest.raises(RuntimeError, match="replica 1"):
            await store.publish(update(2), None)
        pool.error = None
        await store.publish(update(3), None)
        await store.wait_pushed(1)
        assert pool.pushes == [3], "a fault that has passed does not stop later versions"

    asyncio.run(scenario())


def test_the_teacher_travels_only_when_it_is_new():
    async def scenario():
        pool = SlowPool()
        pool.may_end.set()
        store = WeightStore(pool, DirectClient(IncidentLog()))
        assert await store.teacher_if_not(0) is None
        await store.publish(update(1), update(1))
        assert (await store.teacher_if_not(0)).version == 1
        assert await store.teacher_if_not(1) is None
        await store.publish(update(2), None)
        assert await store.teacher_if_not(1) is None, "the teacher did not move"
        await store.publish(update(1), None, anew=True)
        assert await store.teacher_if_not(1) is None, "learners began anew with the base model"

    asyncio.run(scenario())


def test_a_teacher_is_asked_for_with_the_student_it_follows():
    async def scenario():
        pool = SlowPool()
        pool.may_end.set()
        store = WeightStore(pool, DirectClient(IncidentLog()))
        await store.publish(update(1), update(1))
        asked = asyncio.create_task(store.teacher_if_not(1, student=2))
        resting = asyncio.create_task(store.teacher_if_not(2, student=3))
        await asyncio.sleep(0.01)
        assert not asked.done(), "the step is taken, and its version not yet published"
        await store.publish(update(2), update(2))
        assert (await asyncio.wait_for(asked, 1)).version == 2
        assert not resting.done()
        await store.publish(update(3), None)
        assert await asyncio.wait_for(resting, 1) is None, "the teacher did not move"

    asyncio.run(scenario())


def test_a_restarted_pool_is_given_the_newest_version_again():
    async def scenario():
        pool = SlowPool()
        pool.may_end.set()
        store = WeightStore(pool, DirectClient(IncidentLog()), patrol_s=0.01)
        await store.publish(update(4), None)
        await store.wait_pushed(1)
        await asyncio.sleep(0.05)
        assert pool.pushes == [4]
        pool.newest = None
        await asyncio.sleep(0.05)
        assert pool.pushes == [4, 4]

    asyncio.run(scenario())


def test_a_restarted_store_refuses_until_it_is_given_all(monkeypatch):
    monkeypatch.setattr(weights, "restarted", lambda: True)

    async def scenario():
        pool = SlowPool()
        pool.may_end.set()
        store = WeightStore(pool, DirectClient(IncidentLog()))
        with pytest.raises(RuntimeError, match="forgotten all weights"):
            await store.publish(update(3), None)
        with pytest.raises(RuntimeError, match="forgotten all weights"):
            await store.teacher_if_not(0)
        await store.publish(update(2), update(2), anew=True)
        assert (await store.teacher_if_not(0)).version == 2

    asyncio.run(scenario())


def test_a_push_that_fails_is_told_though_nobody_publishes_any_more():
    async def scenario():
        pool, log = SlowPool(RuntimeError("replica 1 cannot be restarted")), IncidentLog()
        pool.may_end.set()
        store = WeightStore(pool, DirectClient(log))
        await store.publish(update(1), None)
        await asyncio.sleep(0.01)
        (incident,) = await log.drain()
        assert incident.who == "weight store"
        assert incident.what == (
            "the push of weights failed: RuntimeError: replica 1 cannot be restarted"
        )

    asyncio.run(scenario())


def test_the_patrol_outlives_the_restart_of_the_pool_and_no_other_error():
    async def scenario():
        pool, log = SlowPool(), IncidentLog()
        pool.may_end.set()
        store = WeightStore(pool, DirectClient(log), patrol_s=0.01)
        await store.publish(update(4), None)
        await store.wait_pushed(1)
        pool.lost, pool.newest = ActorUnavailableError("the pool", None), None
        await asyncio.sleep(0.05)
        pool.lost = None
        await asyncio.sleep(0.05)
        assert pool.pushes == [4, 4] and await log.drain() == []
        pool.lost = ValueError("no version")
        await asyncio.sleep(0.05)
        (incident,) = await log.drain()
        assert incident.what == "the watch over the generator pool failed: ValueError: no version"
        with pytest.raises(ValueError, match="no version"):
            await store.publish(update(5), None)
        pool.lost, pool.newest = None, None
        await store.publish(update(5), None)
        await store.wait_pushed(1)
        pool.newest = None
        await asyncio.sleep(0.05)
        assert pool.pushes == [4, 4, 5, 5], "learners that start again have a patrol too"

    asyncio.run(scenario())


def test_learners_that_were_replaced_publish_nothing():
    async def scenario():
        pool, log = SlowPool(), IncidentLog()
        pool.may_end.set()
        store = WeightStore(pool, DirectClient(log))
        await store.publish(update(12), update(12), incarnation=1)
        await store.publish(update(10), update(10), anew=True, incarnation=2)
        for anew in (False, True):
            with pytest.raises(
                RuntimeError, match="version 13 was refused: learners of incarnation 1"
            ):
                await store.publish(update(13), update(13), anew, incarnation=1)
        await store.wait_pushed(1)
        assert store.student.version == pool.newest == 10
        assert (await store.teacher_if_not(0)).version == 10
        first, second = await log.drain()
        assert first.who == "weight store" and "replaced by those of incarnation 2" in first.what

    asyncio.run(scenario())
