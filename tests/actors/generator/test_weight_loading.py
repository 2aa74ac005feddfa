"""Pushing weights into an engine: which version serves whom, and what stays loaded."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from actors.generator.weight_loading import AdapterTransport, MergedTransport, choose_transport
from actors.generator.worker_extension import InPlaceWeights
from actors.weights.buckets import weight_update
from actors.weights.update import WeightUpdate
from tests.support.scripted_engine import ScriptedEngine, request
from unisd_core.common.scratch import PREFIX, SHARED_MEMORY
from unisd_core.config.run import Config
from unisd_core.models.load import load_base
from unisd_core.models.lora import adapter_state, add_lora
from unisd_core.models.trained_weights import load_trained_state, make_trainable, trained_state

IDS = torch.tensor([[5, 9, 40, 77]])


class RecordingEngine(ScriptedEngine):
    """Keeps what it was given the way vLLM would: folders are read at once, adapters by id."""

    def __init__(self):
        super().__init__()
        self.loaded: dict[int, str] = {}
        self.next_id = 0
        self.seen = None

    async def load_adapter(self, name: str, folder: Path) -> int:
        self.next_id += 1
        self.loaded[self.next_id] = name
        base = AutoModelForCausalLM.from_pretrained(self.base)
        self.seen = PeftModel.from_pretrained(base, folder)(IDS).logits
        return self.next_id

    async def drop_adapter(self, adapter: int) -> None:
        del self.loaded[adapter]

    async def load_merged(self, folder: Path) -> None:
        worker = InPlaceWeights()
        worker.reload_weights = lambda weights_iterator: self._serve(dict(weights_iterator))
        worker.merge_adapter(str(self.base), str(folder))

    def _serve(self, weights: dict[str, torch.Tensor]) -> None:
        model = AutoModelForCausalLM.from_pretrained(self.base)
        model.load_state_dict(weights, strict=False)
        self.seen = model(IDS).logits

    async def load_weights(self, folder: Path) -> None:
        self.names = set(load_file(folder / "model.safetensors"))
        self.seen = AutoModelForCausalLM.from_pretrained(folder)(IDS).logits


def changed(update: WeightUpdate) -> WeightUpdate:
    """The same update with one number off in its first piece."""
    ((first, *pieces), *buckets) = update.buckets
    values = first.values.copy()
    values[0] += 1e-6
    return replace(update, buckets=([replace(first, values=values), *pieces], *buckets))


@pytest.fixture
def trained(tiny_model):
    """A model with a non-trivial adapter, and the update that publishes it as ``version``."""
    model = add_lora(load_base(tiny_model), Config().model.lora, seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
    return model, lambda version: weight_update(version, adapter_state(model))


@pytest.mark.parametrize("kind", [MergedTransport, AdapterTransport])
def test_the_engine_serves_what_was_trained(kind, tiny_model, trained):
    model, publish = trained
    engine = RecordingEngine()
    engine.base = tiny_model
    transport = kind(engine, Config(), tiny_model)
    checksum = asyncio.run(transport.load(publish(4)))
    assert transport.version == 4 and checksum == publish(4).checksum
    torch.testing.assert_close(engine.seen, model(IDS).logits, atol=1e-4, rtol=1e-4)


def test_bytes_that_changed_on_the_way_are_refused(tiny_model, trained):
    _, publish = trained
    broken = changed(publish(4))
    transport = MergedTransport(RecordingEngine(), Config(), tiny_model)
    with pytest.raises(ValueError, match="version 4: received"):
        asyncio.run(transport.load(broken))
    assert transport.version == 0


def test_adapters_are_unloaded_when_their_last_request_ends(tiny_model, trained):
    _, publish = trained
    engine = RecordingEngine()
    engine.base = tiny_model

    async def scenario():
        transport = AdapterTransport(engine, Config(), tiny_model)
        base = transport.begin()
        assert (base.version, base.adapter) == (0, None)
        await transport.load(publish(1))
        first = [transport.begin(), transport.begin()]
        assert [(lease.version, lease.adapter) for lease in first] == [(1, 1), (1, 1)]
        await transport.load(publish(2))
        assert sorted(engine.loaded.values()) == ["v1-1", "v2-2"]
        await transport.finish(first[0])
        assert len(engine.loaded) == 2, "one request still runs under version 1"
        await transport.finish(first[1])
        assert list(engine.loaded.values()) == ["v2-2"]
        await transport.finish(base)

    asyncio.run(scenario())


def test_a_version_published_again_gets_a_new_name_and_leaves_running_requests_alone(
    tiny_model, trained
):
    _, publish = trained
    engine = RecordingEngine()
    engine.base = tiny_model

    async def scenario():
        transport = AdapterTransport(engine, Config(), tiny_model)
        await transport.load(publish(2))
        running = transport.begin()
        await transport.load(publish(2))
        assert sorted(engine.loaded.values()) == ["v2-1", "v2-2"]
        await transport.finish(running)
        assert list(engine.loaded.values()) == ["v2-2"]

    asyncio.run(scenario())


def test_a_load_waits_for_a_slot_and_the_engine_never_evicts(tiny_model, trained):
    _, publish = trained
    slots = Config().training.max_staleness + 2
    engine = ScriptedEngine(slots=slots)

    async def sampled(transport, tokens):
        served = transport.begin()
        try:
            return served.version, await engine.sample(
                "", [1], request("", tokens).sampling, served.adapter
            )
        finally:
            await transport.finish(served)

    async def scenario():
        transport = AdapterTransport(engine, Config(), tiny_model)
        assert transport.slots == slots
        held = []
        for version in range(1, slots + 1):  # as validation does, a request stays at each version
            await transport.load(publish(version))
            held.append(transport.begin())
        late = asyncio.create_task(transport.load(publish(slots + 1)))
        version, answer = await sampled(transport, 20)
        assert (version, set(answer.token_ids)) == (slots, {slots}), "the served one is served on"
        assert not late.done() and engine.most == slots
        await transport.finish(held[1])
        await late
        assert transport.version == slots + 1
        assert sorted(engine.adapters.values()) == [1, *range(3, slots + 2)]
        for served in held:
            if served is not held[1]:
                await engine.sample("", [1], request("", 3).sampling, served.adapter)
                await transport.finish(served)
        assert list(engine.adapters.values()) == [slots + 1]

    asyncio.run(scenario())


@pytest.mark.parametrize("seed", range(3))
def test_whatever_the_order_no_request_needs_an_adapter_that_was_evicted(tiny_model, trained, seed):
    _, publish = trained
    rng = random.Random(seed)
    config = Config.model_validate({"training": {"max_staleness": rng.randrange(3)}})
    engine = ScriptedEngine(slots=config.training.max_staleness + 2)

    async def one(transport):
        served = transport.begin()
        sampling = request("", rng.choice([1, 10, 60])).sampling
        answer = await engine.sample("", [1], sampling, served.adapter)
        assert set(answer.token_ids) == {served.version}
        await transport.finish(served)

    async def scenario():
        transport = AdapterTransport(engine, config, tiny_model)
        running = []
        for version in range(1, 12):
            running += [asyncio.create_task(one(transport)) for _ in range(3)]
            await transport.load(publish(version))
        await asyncio.gather(*running)
        assert engine.most == engine.slots and list(engine.adapters.values()) == [11]

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_pushed_files_are_gone_when_they_are_loaded(tiny_model, trained):
    _, publish = trained
    engine = RecordingEngine()
    engine.base = tiny_model
    before = set(SHARED_MEMORY.glob(f"{PREFIX}*"))
    asyncio.run(AdapterTransport(engine, Config(), tiny_model).load(publish(1)))
    assert not set(SHARED_MEMORY.glob(f"{PREFIX}*")) - before


def test_auto_merges_on_cpu_and_keeps_adapters_on_gpu():
    def chosen(**generator):
        return choose_transport(Config.model_validate({"generator": generator}))

    assert chosen() is MergedTransport
    assert chosen(gpus=1.0) is AdapterTransport
    assert chosen(transport="adapter") is AdapterTransport


def test_whole_weights_are_served_in_place_whatever_the_hardware(tiny_model):
    settings = Config.model_validate({"model": {"finetune": "full"}})
    on_gpu = settings.model_copy(
        update={"generator": Config().generator.model_copy(update={"gpus": 1.0})}
    )
    assert choose_transport(settings) is choose_transport(on_gpu) is MergedTransport
    model = make_trainable(load_base(tiny_model), settings)
    state = {name: tensor * 1.1 + 0.01 for name, tensor in trained_state(model).items()}
    load_trained_state(model, state)
    engine, update = RecordingEngine(), weight_update(2, state)
    transport = MergedTransport(engine, settings, tiny_model)
    assert asyncio.run(transport.load(update)) == update.checksum
    assert transport.version == 2 and engine.names == set(state)
    torch.testing.assert_close(engine.seen, model(IDS).logits, atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="version 3: received"):
        asyncio.run(transport.load(replace(changed(update), version=3)))
    assert transport.version == 2
