"""The pool with replicas that fail on command: who is replaced, joins and leaves, while no request
is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import ray

from actors.admission.idle_time import IdleShares
from actors.generator.pool import GeneratorPool
from actors.generator.router import ReplicaState
from actors.weights.update import WeightUpdate
from tests.support.scripted_replica import incidents, requests, update

GROWS = {"replicas": 1, "max_replicas": 4, "timeout_s": 5.0, "scale_s": 3600.0}
"""One replica, which may become four when a test says so."""


async def until(pool: GeneratorPool, count: int) -> None:
    """Return when there are ``count`` replicas, all of them ready."""
    while not len(pool.router.ready()) == len(pool.router.replicas) == count:
        await asyncio.sleep(0.02)


def states(pool: GeneratorPool) -> list[ReplicaState]:
    return [replica.state for replica in pool.router.replicas]


@pytest.mark.parametrize(("fault", "prompt"), [("die", 1), ("hang", 2)])
def test_a_lost_replica_is_replaced_at_the_newest_version(scripted, fault, prompt):
    async def scenario(pool, folder):
        await pool.push(update(4))
        (folder / fault).touch()
        (answer,) = await pool.generate(requests(prompt), min_version=4)
        assert answer.version_first == 4
        reports = await pool.reports(4)
        assert [report.version for report in reports] == [4, 4]
        lost, back = await incidents(pool, 2)
        assert ": lost (" in lost and ": back after" in back and "at version 4" in back

    scripted(scenario)


@pytest.mark.parametrize(("fault", "prompt"), [("stall", 4), ("freeze", 5)])
def test_a_replica_without_progress_or_answer_is_replaced_long_before_its_time_limit(
    scripted, fault, prompt
):
    async def scenario(pool, folder):
        await pool.push(update(1))
        (folder / fault).touch()
        (answer,) = await asyncio.wait_for(pool.generate(requests(prompt), min_version=1), 40)
        assert answer.version_first == 1
        await pool.reports(1)
        lost, *_ = await incidents(pool, 1)
        assert ("without progress" if fault == "stall" else "did not answer") in lost

    scripted(scenario, timeout_s=300.0, stall_s=2.0)


def test_a_replica_that_dies_while_it_loads_is_started_again(scripted):
    async def scenario(pool, folder):
        (folder / "die").touch()
        (folder / "stillborn").touch()
        await pool.generate(requests(1))
        assert [report.version for report in await pool.reports(0)] == [0, 0]

    scripted(scenario)


def test_the_others_go_on_without_a_replica_that_cannot_be_restarted_until_it_can(scripted):
    async def scenario(pool, folder):
        pool.lifecycle.retry_s = 0.1
        (folder / "die").touch()
        (folder / "unstartable").touch()
        (answer,) = await pool.generate(requests(1))
        assert [report.replica for report in await pool.reports(0)] == [answer.replica]
        lost, *failures = await incidents(pool, 4)  # it has been tried more than once
        assert ": lost (" in lost
        assert all("cannot be restarted" in one and "no room" in one for one in failures)
        assert states(pool).count(ReplicaState.ABANDONED) == 1
        assert [report.replica for report in await pool.reports(0)] == [answer.replica]
        await pool.push(update(1))
        (folder / "unstartable").unlink()
        await until(pool, 2)
        assert [report.version for report in await pool.reports(1)] == [1, 1]

    scripted(scenario)


def test_waiting_ends_when_no_replica_can_be_had(scripted):
    async def scenario(pool, folder):
        (folder / "unstartable").touch()
        for replica in pool.router.replicas:
            pool.lifecycle.replace(replica, replica.actor, "test")
        with pytest.raises(RuntimeError, match=r"cannot be restarted: .*no room"):
            await pool.generate(requests(7))

    scripted(scenario)


class Owner:
    """Owns what it is given, as the store does."""

    def keep(self, bucket: object) -> list[ray.ObjectRef]:
        return [ray.put(bucket)]


def test_replicas_outlive_a_store_that_dies_with_the_weights(scripted):
    async def scenario(pool, folder):
        owner = ray.remote(Owner).options(num_cpus=0).remote()
        older, newer = [(await owner.keep.remote(bytes(10**6)))[0] for _ in range(2)]
        await pool.push(WeightUpdate(2, (older,), "sum-2"))
        before = [replica.actor for replica in pool.router.replicas]
        ray.kill(owner)
        while await pool.push(WeightUpdate(3, (newer,), "sum-3")):
            await asyncio.sleep(0.2)  # until Ray has noticed
        (folder / "die").touch()
        (answer,) = await pool.generate(requests(1), min_version=2)
        survivor = before[answer.replica]
        assert pool.router.replicas[answer.replica].actor is survivor
        await pool.push(update(2))
        assert [report.version for report in await pool.reports(2)] == [2, 2]
        assert pool.router.replicas[answer.replica].actor is survivor

    scripted(scenario)


class Gate:
    """Says who waited, from a list, one entry a question; afterwards nobody."""

    def __init__(self, *answers: tuple[float, float]) -> None:
        self.answers = list(answers)
        self.idle = self

    async def remote(self) -> IdleShares:
        return IdleShares(*(self.answers.pop(0) if self.answers else (0.0, 0.0)), 60)


async def ask_all_the_time(pool: GeneratorPool, answers: list[int], stop: asyncio.Event) -> None:
    while not stop.is_set():
        (answer,) = await pool.generate(requests(7))
        assert answer.token_ids == [7]
        answers.append(answer.replica)


def test_it_grows_to_four_and_shrinks_to_two_while_it_works(scripted) -> None:
    async def scenario(pool: GeneratorPool, _: Path) -> None:
        answers: list[int] = []
        stop = asyncio.Event()
        asking = [asyncio.create_task(ask_all_the_time(pool, answers, stop)) for _ in range(8)]
        await pool.push(update(3))
        # While a replica joins no other is asked for, so the learner goes on waiting.
        waits = Gate(*[(0.9, 0.0)] * 200)
        grow = asyncio.create_task(pool.lifecycle.autoscale(waits, 0.05))
        await until(pool, 4)
        grow.cancel()
        assert [report.version for report in await pool.reports(3)] == [3, 3, 3, 3]
        waits = Gate((0.0, 0.9), (0.0, 0.9))
        shrink = asyncio.create_task(pool.lifecycle.autoscale(waits, 0.05))
        await until(pool, 2)
        shrink.cancel()
        stop.set()
        await asyncio.gather(*asking)
        assert {0, 1, 2, 3} <= set(answers)
        assert len(await pool.reports(3)) == 2
        told = await incidents(pool)
        assert sum("asked for (in 60 s the learner waited 90%" in one for one in told) == 3
        assert sum("joined at version 3" in one for one in told) == 3
        assert sum(": leaves (" in one for one in told) == 2

    scripted(scenario, **GROWS)


def test_a_replica_without_room_does_not_join_and_holds_nobody_up(scripted) -> None:
    async def scenario(pool: GeneratorPool, _: Path) -> None:
        pool.lifecycle.start_timeout_s = 0.5
        object.__setattr__(pool.config.generator, "cpus", 64.0)
        await pool.lifecycle.scale_up("test")
        assert states(pool) == [ReplicaState.READY, ReplicaState.JOINING]
        assert len(await pool.reports(0)) == 1
        await until(pool, 1)
        assert any("did not join" in one for one in await incidents(pool))

    scripted(scenario, **GROWS)


def test_a_lost_replica_above_the_least_is_given_up_where_it_finds_no_room(scripted) -> None:
    async def scenario(pool: GeneratorPool, folder: Path) -> None:
        await pool.lifecycle.scale_up("test")
        await until(pool, 2)
        (folder / "unstartable").touch()
        joined = pool.router.replicas[1]
        pool.lifecycle.replace(joined, joined.actor, "its node is gone")
        assert joined.state is ReplicaState.LOST
        await until(pool, 1)
        assert len(await pool.reports(0)) == 1

    scripted(scenario, **GROWS)


def test_a_replica_that_is_lost_while_it_drains_is_not_replaced(scripted) -> None:
    async def scenario(pool: GeneratorPool, _: Path) -> None:
        await pool.lifecycle.scale_up("test")
        await until(pool, 2)
        slow = [asyncio.create_task(pool.generate(requests(6))) for _ in range(2)]
        while not all(replica.running for replica in pool.router.replicas):
            await asyncio.sleep(0.02)
        leaving = pool.router.replicas[1]
        pool.lifecycle.scale_down("test")
        pool.lifecycle.replace(leaving, leaving.actor, "its node is gone")
        answers = [answer for group in await asyncio.gather(*slow) for answer in group]
        assert [answer.replica for answer in answers] == [0, 0]
        await until(pool, 1)
        assert not any(": lost (" in one for one in await incidents(pool, 3))

    scripted(scenario, **GROWS)
