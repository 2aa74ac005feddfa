"""A replica delivers what whole, proven weights have sampled, under the version that sampled it."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from actors.generator import replica as generator
from actors.generator.inprocess_engine import EngineDeadError
from actors.generator.replica import GeneratorReplica
from actors.generator.weight_loading import PROBE_GAP
from actors.weights.buckets import weight_update
from actors.weights.update import Probe, WeightUpdate
from tests.support.scripted_engine import MIXED, ScriptedEngine, request
from unisd_core.common.completion import Completion
from unisd_core.config.run import Config
from unisd_core.models.load import load_base
from unisd_core.models.lora import adapter_state, add_lora

PROBE = Probe(ids=(5, 6, 7), logprobs=(-1.0, -2.0))
WRONG = [-1.0, -2.01]

Publish = Callable[..., WeightUpdate]


@pytest.fixture(scope="module")
def publish(tiny_model: Path) -> Publish:
    """A version with the weights of an untrained adapter."""
    state = adapter_state(add_lora(load_base(tiny_model), Config().model.lora, seed=0))

    def update(version: int, probe: Probe | None = None) -> WeightUpdate:
        return weight_update(version, state, probe)

    return update


@pytest.fixture
def run(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a scenario with a replica and its scripted engine."""
    monkeypatch.setattr(generator, "Engine", ScriptedEngine)

    def run(scenario: Callable[[Any, Any], Awaitable[Any]], transport: str = "merged") -> Any:
        config = Config.model_validate({"generator": {"transport": transport}})
        replica: Any = GeneratorReplica(config, str(tiny_model), 0)
        replica.engine.slots = replica.transport.slots

        async def whole() -> Any:
            return await asyncio.wait_for(scenario(replica, replica.engine.core), 60)

        return asyncio.run(whole())

    return run


async def load(replica: Any, core: Any, update: WeightUpdate) -> Any:
    core.incoming = update.version
    return await replica.load(update)


async def broadcast(replica: Any, core: Any, version: int, checksum: str = "sum") -> None:
    """Every step of a broadcast but the adoption."""
    core.incoming, core.checksum = version, checksum
    for step in ("start", "update", "finish"):
        await replica.transfer(step, {})


def sampling(replica: Any, *tokens: int, together: bool = False) -> asyncio.Task[list[Completion]]:
    """Requests of so many tokens that are under way."""
    group = [request(f"{n}", count) for n, count in enumerate(tokens)]
    return asyncio.create_task(replica.generate(group, together))


def check_stamps(completions: list[Completion]) -> None:
    for one in completions:
        stamped = range(one.version_first, one.version_last + 1)
        assert set(one.token_ids) <= set(stamped), (one.token_ids, stamped)


@pytest.mark.parametrize("transport", ["merged", "adapter"])
def test_an_engine_that_computes_what_it_must_is_taken(
    run: Any, publish: Publish, transport: str
) -> None:
    async def scenario(replica: Any, core: Any) -> Any:
        replica.engine.probe = [-1.0, -2.0 + PROBE_GAP["float32"]]
        return await load(replica, core, publish(4, PROBE))

    report = run(scenario, transport)
    assert (report.version, report.checksum) == (4, publish(4).checksum)


@pytest.mark.parametrize("transport", ["merged", "adapter"])
@pytest.mark.parametrize("logprobs", [WRONG, [-1.0, math.nan]])
def test_an_engine_with_other_weights_is_refused(
    run: Any, publish: Publish, transport: str, logprobs: list[float]
) -> None:
    async def scenario(replica: Any, core: Any) -> None:
        replica.engine.probe = logprobs
        with pytest.raises(RuntimeError, match="given version 4 but computes log-probs"):
            await load(replica, core, publish(4, PROBE))

    run(scenario, transport)


def test_weights_without_a_probe_are_taken_as_they_are(run: Any, publish: Publish) -> None:
    async def scenario(replica: Any, core: Any) -> Any:
        return await load(replica, core, publish(4))

    assert run(scenario).version == 4


@pytest.mark.parametrize("transport", ["merged", "adapter"])
def test_nothing_is_delivered_under_weights_that_do_not_prove_right(
    run: Any, publish: Publish, transport: str
) -> None:
    async def scenario(replica: Any, core: Any) -> None:
        replica.engine.probe = WRONG
        loading = asyncio.create_task(load(replica, core, publish(1, PROBE)))
        running = []
        while not loading.done():  # some end while the probe is read
            running.append(sampling(replica, 3))
            await asyncio.sleep(0.002)
        with pytest.raises(RuntimeError, match="computes log-probs"):
            await loading
        ended = await asyncio.gather(*running, return_exceptions=True)
        delivered = [one for group in ended if isinstance(group, list) for one in group]
        assert {one.version_last for one in delivered} <= {0}
        check_stamps(delivered)
        refused = [error for error in ended if not isinstance(error, list)]
        assert all(isinstance(error, EngineDeadError) for error in refused)
        assert bool(refused) is (transport == "merged"), "adapters are served once they are proven"

    run(scenario, transport)


def test_a_load_that_fails_half_way_ends_the_service(run: Any, publish: Publish) -> None:
    async def scenario(replica: Any, core: Any) -> None:
        running = sampling(replica, 4, 30)
        core.breaks = True
        with pytest.raises(RuntimeError, match="no memory"):
            await load(replica, core, publish(1))
        await asyncio.sleep(0.1)
        assert core.paused and not running.done(), "mixed weights were sampled with"
        with pytest.raises(EngineDeadError, match="weights are in doubt"):
            await sampling(replica, 1)
        with pytest.raises(EngineDeadError, match="weights are in doubt"):
            await replica.check()
        with pytest.raises(EngineDeadError, match="weights are in doubt"):
            await sampling(replica, 1, together=True)
        assert core.paused
        running.cancel()

    run(scenario)


def test_a_group_that_starts_during_a_load_waits_for_its_end(run: Any, publish: Publish) -> None:
    async def scenario(replica: Any, core: Any) -> None:
        core.change_s = 0.2
        loading = asyncio.create_task(load(replica, core, publish(1)))
        while core.weights != MIXED:
            await asyncio.sleep(0.001)
        completions = await sampling(replica, 3, 3, together=True)
        await loading
        assert [one.token_ids for one in completions] == [[1] * 3] * 2

    run(scenario)


def test_between_finish_and_adoption_nothing_is_sampled(run: Any, publish: Publish) -> None:
    async def scenario(replica: Any, core: Any) -> None:
        running = sampling(replica, 5, 40)
        await broadcast(replica, core, 1)
        await asyncio.sleep(0.1)
        assert not running.done() and replica.report().running == 0, "it waits on purpose"
        report = await replica.adopt(publish(1), "sum")
        assert (report.version, report.checksum) == (1, publish(1).checksum)
        completions = await running
        check_stamps(completions)
        assert completions[1].token_ids[-1] == 1, "it went on under the new weights"

    run(scenario)


@pytest.mark.parametrize("arrived", ["other", None])
def test_a_broadcast_that_arrived_otherwise_than_it_was_sent_is_refused(
    run: Any, publish: Publish, arrived: str | None
) -> None:
    async def scenario(replica: Any, core: Any) -> None:
        running = sampling(replica, 50)
        await asyncio.sleep(0.01)
        if arrived is None:
            for step in ("start", "finish"):
                await replica.transfer(step, {})
        else:
            await broadcast(replica, core, 1, arrived)
        with pytest.raises(ValueError, match="version 1: received (other|nothing), sent sum"):
            await replica.adopt(publish(1), "sum")
        await asyncio.sleep(0.1)
        assert not running.done()
        with pytest.raises(EngineDeadError):
            await replica.check()
        running.cancel()

    run(scenario)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("transport", ["merged", "adapter", "nccl"])
def test_stamps_tell_which_weights_sampled(
    run: Any, publish: Publish, transport: str, seed: int
) -> None:
    rng = random.Random(seed)

    async def scenario(replica: Any, core: Any) -> None:
        running = []
        for version in range(1, 9):
            tokens = [rng.randrange(1, 40) for _ in range(3)]
            running.append(sampling(replica, *tokens, together=rng.random() < 0.3))
            await asyncio.sleep(rng.uniform(0, 0.01))
            if transport == "nccl":
                await broadcast(replica, core, version)
                await replica.adopt(publish(version), "sum")
            else:
                await load(replica, core, publish(version))
        for group in running:
            check_stamps(await group)
        assert max(one.version_last for one in await sampling(replica, 1)) == 8

    run(scenario, "merged" if transport == "nccl" else transport)
