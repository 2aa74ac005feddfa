"""The pool with replicas that fail on command: who answers a request, and how weights arrive."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import ray

from actors.weights.buckets import pack, stored, unpack
from tests.support.scripted_replica import incidents, requests, update


def test_work_is_spread_and_answers_keep_their_order(scripted):
    async def scenario(pool, _):
        groups = await asyncio.gather(*(pool.generate(requests(7, 8)) for _ in range(4)))
        assert all([s.token_ids for s in group] == [[7], [8]] for group in groups)
        assert {s.replica for group in groups for s in group} == {0, 1}

    scripted(scenario)


def test_an_error_of_the_request_does_not_cost_a_replica(scripted):
    async def scenario(pool, _):
        actors = [replica.actor for replica in pool.router.replicas]
        with pytest.raises(ray.exceptions.RayTaskError, match="prompt is empty"):
            await pool.generate(requests(3))
        assert [replica.actor for replica in pool.router.replicas] == actors

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


def test_weights_travel_as_references(scripted):
    async def scenario(pool, _):
        new = pack(3, {"a": np.arange(200_000, dtype=np.float32)}, limit=2**18)
        sent = stored(new, ray.put)
        assert len(sent.buckets) == 4
        assert {report.checksum for report in await pool.push(sent)} == {new.checksum}
        np.testing.assert_array_equal(unpack(sent)["a"].numpy(), np.arange(200_000))

    # Replicas import numpy for their first buckets.
    scripted(scenario, timeout_s=30.0)


def test_a_broadcast_that_fails_costs_all_replicas_that_waited_in_it(scripted):
    async def scenario(pool, folder):
        # As on GPUs, which this machine need not have.
        object.__setattr__(pool.config.generator, "transport", "nccl")
        object.__setattr__(pool.config.generator, "sender_gpus", 0)
        assert [report.version for report in await pool.push(update(1))] == [1, 1]
        before = [replica.actor for replica in pool.router.replicas]
        (folder / "broken").touch()
        assert await pool.push(update(2)) == []
        assert [report.version for report in await pool.reports(2)] == [2, 2]
        assert not set(before) & {replica.actor for replica in pool.router.replicas}
        assert [report.version for report in await pool.push(update(3))] == [3, 3]
        assert all("broadcast failed" in one for one in (await incidents(pool, 4))[:2])

    scripted(scenario)


def test_a_replica_to_which_other_weights_arrived_is_replaced(scripted):
    async def scenario(pool, folder):
        object.__setattr__(pool.config.generator, "transport", "nccl")
        object.__setattr__(pool.config.generator, "sender_gpus", 0)
        (folder / "garbled").touch()
        assert [report.replica for report in await pool.push(update(1))] == [0]
        assert [report.version for report in await pool.reports(1)] == [1, 1]
        assert "version 1: received other, sent tensors of" in (await incidents(pool, 1))[0]

    scripted(scenario)


def test_requests_of_an_engine_that_was_given_up_are_repeated_elsewhere(scripted):
    async def scenario(pool, folder):
        (folder / "give up").touch()
        before = {replica.actor for replica in pool.router.replicas}
        (answer,) = await pool.generate(requests(9))
        assert answer.token_ids == [9]
        await pool.reports(0)
        after = {replica.actor for replica in pool.router.replicas}
        assert len(before - after) == 1, "one was replaced"

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
