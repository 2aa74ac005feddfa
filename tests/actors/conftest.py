"""A generator pool whose replicas are scripted, for the tests of its routing and its lifecycle."""

from __future__ import annotations

import asyncio

import pytest
import ray

from actors.generator.pool import GeneratorPool
from actors.runtime.calls import coordinator_actor
from actors.supervision.watchdog import Watchdog, WatchdogClient
from tests.support.scripted_replica import ScriptedReplica, ScriptedSender
from unisd_core.config.run import Config


@pytest.fixture(scope="module")
def pool_cluster():
    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def scripted(pool_cluster, tmp_path):
    """Runs a scenario with a started pool, by default of two replicas, and a folder of scheduled
    faults; takes settings of the generator."""

    def run(scenario, **generator):
        settings = {"replicas": 2, "cpus": 0.5, "timeout_s": 3.0, "stall_s": 60.0, **generator}
        config = Config.model_validate({"generator": settings})

        async def whole():
            watchdog = WatchdogClient(coordinator_actor(Watchdog, tmp_path.name).remote())
            pool = GeneratorPool(config, str(tmp_path), watchdog, ScriptedReplica, ScriptedSender)
            await pool.start()
            try:
                await asyncio.wait_for(scenario(pool, tmp_path), 60)
            finally:
                await pool.stop()

        asyncio.run(whole())

    return run
