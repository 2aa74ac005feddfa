"""The pool with replicas that fail on command: routing, replacement, who is late."""

from __future__ import annotations

import asyncio
import os

import pytest
import ray

from actors import pool as pool_module
from actors.engine import Sampling
from actors.messages import ReplicaReport, Request, Sampled, WeightUpdate
from actors.pool import GeneratorPool
from unisd_core.config import Config

SAMPLING = Sampling(1.0, 1.0, 4, None, ())


class ScriptedReplica:
    """A replica without an engine that dies, hangs or refuses when told to, once per file."""

    def __init__(self, config: Config, model_dir: str, index: int):
        self.index, self.version, self.folder = index, 0, model_dir

    async def start(self, update: WeightUpdate | None) -> ReplicaReport:
        self.version = update.version if update else 0
        return self.check()

    async def load(self, update: WeightUpdate) -> ReplicaReport:
        if self.index == 1 and self._first_time("deaf"):
            await asyncio.sleep(60)
        self.version = update.version
        return ReplicaReport(self.index, self.version, update.checksum, 0, 0.0)

    async def generate(self, requests: list[Request], together: bool) -> list[Sampled]:
        for request in requests:
            if request.prompt_ids == [1] and self._first_time("die"):
                os._exit(1)
            if request.prompt_ids == [2] and self._first_time("hang"):
                await asyncio.sleep(60)
            if request.prompt_ids == [3]:
                raise ValueError("prompt is empty")
        await asyncio.sleep(0.05)
        return [
            Sampled(request.prompt_ids, [0.0], "stop", self.version, self.version, self.index)
            for request in requests
        ]

    def check(self) -> ReplicaReport:
        return ReplicaReport(self.index, self.version, "", 0, 0.0)

    async def stop(self) -> None:
        pass

    def _first_time(self, what: str) -> bool:
        path = os.path.join(self.folder, what)
        if not os.path.exists(path):
            return False
        os.unlink(path)
        return True


@pytest.fixture(scope="module")
def cluster():
    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def scripted(cluster, monkeypatch, tmp_path):
    """Runs a scenario with a started pool of two replicas and a folder of scheduled faults."""
    monkeypatch.setattr(pool_module, "GeneratorReplica", ScriptedReplica)
    config = Config.model_validate({"generator": {"replicas": 2, "cpus": 0.5, "timeout_s": 3.0}})

    def run(scenario):
        async def whole():
            pool = GeneratorPool(config, str(tmp_path))
            await pool.start()
            try:
                await asyncio.wait_for(scenario(pool, tmp_path), 60)
            finally:
                await pool.stop()

        asyncio.run(whole())

    return run


def requests(*prompts: int) -> list[Request]:
    return [Request(f"{n}-{prompt}", [prompt], SAMPLING) for n, prompt in enumerate(prompts)]


def update(version: int) -> WeightUpdate:
    return WeightUpdate(version, {}, f"sum-{version}")


def test_work_is_spread_and_answers_keep_their_order(scripted):
    async def scenario(pool, _):
        groups = await asyncio.gather(*(pool.generate(requests(7, 8)) for _ in range(4)))
        assert all([s.token_ids for s in group] == [[7], [8]] for group in groups)
        assert {s.replica for group in groups for s in group} == {0, 1}

    scripted(scenario)


@pytest.mark.parametrize(("fault", "prompt"), [("die", 1), ("hang", 2)])
def test_a_lost_replica_is_replaced_at_the_newest_version(scripted, fault, prompt):
    async def scenario(pool, folder):
        await pool.push(update(4))
        (folder / fault).touch()
        (answer,) = await pool.generate(requests(prompt), min_version=4)
        assert answer.version_first == 4
        reports = await pool.reports(4)
        assert [report.version for report in reports] == [4, 4]

    scripted(scenario)


def test_an_error_of_the_request_does_not_cost_a_replica(scripted):
    async def scenario(pool, _):
        actors = [slot.actor for slot in pool.slots]
        with pytest.raises(ray.exceptions.RayTaskError, match="prompt is empty"):
            await pool.generate(requests(3))
        assert [slot.actor for slot in pool.slots] == actors

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
