"""The pool with replicas that fail on command: routing, replacement, who is late."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import ray

from actors.generator import pool as pool_module
from actors.generator.pool import GeneratorPool
from actors.generator.router import Slot
from actors.generator.types import Request, Sampling
from actors.weights.buckets import pack, stored, unpack
from actors.weights.update import WeightUpdate
from tests.support.scripted_replica import ScriptedSender

SAMPLING = Sampling(1.0, 1.0, 4, None, ())


def requests(*prompts: int) -> list[Request]:
    return [Request(f"{n}-{prompt}", [prompt], SAMPLING) for n, prompt in enumerate(prompts)]


def update(version: int) -> WeightUpdate:
    return WeightUpdate(version, (), f"sum-{version}")


def test_work_is_spread_and_answers_keep_their_order(scripted):
    async def scenario(pool, _):
        groups = await asyncio.gather(*(pool.generate(requests(7, 8)) for _ in range(4)))
        assert all([s.token_ids for s in group] == [[7], [8]] for group in groups)
        assert {s.replica for group in groups for s in group} == {0, 1}

    scripted(scenario)


async def incidents(pool: GeneratorPool, at_least: int) -> list[str]:
    """What the watch was told, once there is that much; a place opens before its note is sent."""
    told: list[str] = []
    while len(told) < at_least:
        told += [f"{one.who}: {one.what}" for one in await pool.watch.drain.remote()]
        await asyncio.sleep(0.02)
    return told


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


async def nobody_comes(slot: Slot) -> None:
    raise TimeoutError("no room")


def test_the_others_go_on_without_a_replica_that_cannot_be_restarted(scripted, monkeypatch):
    async def scenario(pool, folder):
        monkeypatch.setattr(pool, "_fill_any", nobody_comes)
        (folder / "die").touch()
        (answer,) = await pool.generate(requests(1))
        assert [report.replica for report in await pool.reports(0)] == [answer.replica]
        assert "cannot be restarted: TimeoutError: no room" in (await incidents(pool, 2))[1]

    scripted(scenario)


def test_waiting_ends_when_no_replica_can_be_had(scripted, monkeypatch):
    async def scenario(pool, folder):
        monkeypatch.setattr(pool, "_fill_any", nobody_comes)
        for slot in pool.slots.all:
            pool._replace(slot, slot.actor, "test")
        with pytest.raises(RuntimeError, match="cannot be restarted: TimeoutError: no room"):
            await pool.generate(requests(7))

    scripted(scenario)


def test_an_error_of_the_request_does_not_cost_a_replica(scripted):
    async def scenario(pool, _):
        actors = [slot.actor for slot in pool.slots.all]
        with pytest.raises(ray.exceptions.RayTaskError, match="prompt is empty"):
            await pool.generate(requests(3))
        assert [slot.actor for slot in pool.slots.all] == actors

    scripted(scenario)


def test_a_replica_deaf_to_a_push_is_replaced(scripted):
    async def scenario(pool, folder):
        (folder / "deaf").touch()
        reports = await pool.push(update(2))
        assert [report.replica for report in reports] == [0]
        assert [report.version for report in await pool.reports(2)] == [2, 2]

    scripted(scenario)


def test_requests_wait_for_the_version_they_need(scripted):
    async def scenario(pool, _):
        waiting = asyncio.create_task(pool.generate(requests(7), min_version=3))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await pool.push(update(3))
        (answer,) = await asyncio.wait_for(waiting, 5)
        assert answer.version_first == 3

    scripted(scenario)


class Owner:
    """Owns what it is given, as the store does."""

    def keep(self, bucket: object) -> list[ray.ObjectRef]:
        return [ray.put(bucket)]


def test_weights_travel_as_references(scripted):
    async def scenario(pool, _):
        new = pack(3, {"a": np.arange(200_000, dtype=np.float32)}, limit=2**18)
        sent = stored(new, ray.put)
        assert len(sent.buckets) == 4
        assert {report.checksum for report in await pool.push(sent)} == {new.checksum}
        np.testing.assert_array_equal(unpack(sent)["a"].numpy(), np.arange(200_000))

    scripted(scenario)


def test_replicas_outlive_a_store_that_dies_with_the_weights(scripted):
    async def scenario(pool, folder):
        owner = ray.remote(Owner).options(num_cpus=0).remote()
        older, newer = [(await owner.keep.remote(bytes(10**6)))[0] for _ in range(2)]
        await pool.push(WeightUpdate(2, (older,), "sum-2"))
        before = [slot.actor for slot in pool.slots.all]
        ray.kill(owner)
        while await pool.push(WeightUpdate(3, (newer,), "sum-3")):
            await asyncio.sleep(0.2)  # until Ray has noticed
        (folder / "die").touch()
        (answer,) = await pool.generate(requests(1), min_version=2)
        survivor = before[answer.replica]
        assert pool.slots.all[answer.replica].actor is survivor
        await pool.push(update(2))
        assert [report.version for report in await pool.reports(2)] == [2, 2]
        assert pool.slots.all[answer.replica].actor is survivor

    scripted(scenario)


def test_a_broadcast_that_fails_costs_all_replicas_that_waited_in_it(scripted, monkeypatch):
    monkeypatch.setattr(pool_module, "WeightSender", ScriptedSender)

    async def scenario(pool, folder):
        # As on GPUs, which this machine need not have.
        object.__setattr__(pool.config.generator, "transport", "nccl")
        object.__setattr__(pool.config.generator, "sender_gpus", 0)
        assert [report.version for report in await pool.push(update(1))] == [1, 1]
        before = [slot.actor for slot in pool.slots.all]
        (folder / "broken").touch()
        assert await pool.push(update(2)) == []
        assert [report.version for report in await pool.reports(2)] == [2, 2]
        assert not set(before) & {slot.actor for slot in pool.slots.all}
        assert [report.version for report in await pool.push(update(3))] == [3, 3]
        assert all("broadcast failed" in one for one in (await incidents(pool, 4))[:2])

    scripted(scenario)


def test_the_first_with_a_new_version_does_not_get_all_the_work(scripted):
    async def scenario(pool, folder):
        (folder / "slow").touch()
        push = asyncio.create_task(pool.push(update(1)))
        groups = [pool.generate(requests(6), min_version=1) for _ in range(2)]
        (first,), (second,) = await asyncio.gather(*groups)
        assert {first.replica, second.replica} == {0, 1}
        assert first.version_first == second.version_first == 1
        await push

    scripted(scenario)
