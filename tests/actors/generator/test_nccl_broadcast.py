"""Broadcasting weights, with replicas that write down what they are told and nothing sent.

The sender is vLLM's own class; only its communicator, which needs GPUs, is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from actors.generator import nccl_broadcast as broadcast
from actors.generator.nccl_broadcast import ReplicaClient, Source, WeightSender
from actors.generator.worker_extension import InPlaceWeights
from actors.weights.buckets import weight_update
from unisd_core.config.run import Config
from unisd_core.models.adapters.merge import merged_weights
from unisd_core.models.load import load_base
from unisd_core.models.lora import adapter_state, add_lora
from unisd_core.models.trained_weights import make_trainable, trained_state


class Replica:
    """Keeps the steps it was led through."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.infos: list[dict[str, Any]] = []
        self.transfer = SimpleNamespace(remote=self._transfer)

    def _transfer(self, step: str, info: dict[str, Any]) -> None:
        self.steps.append(step)
        self.infos.append(info)


def config(**model: Any) -> Config:
    return Config.model_validate(
        {"model": model, "generator": {"transport": "nccl", "gpus": 1, "tensor_parallel_size": 2}}
    )


@pytest.fixture
def sender(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A sender whose groups are made by ``groups``, a list of (world, trainer)."""
    nccl = pytest.importorskip("vllm.distributed.weight_transfer.nccl_engine")
    monkeypatch.setattr(broadcast, "get_with_timeout", lambda answers, *_: answers)
    monkeypatch.setattr(broadcast.ray.util, "get_node_ip_address", lambda: "127.0.0.1")
    groups: list[Any] = []

    class Trainer(nccl.NCCLTrainerWeightTransferEngine):
        def _broadcast(self, source: Any, meta: Any) -> None:
            self.sent = dict(self._checked_iter(source, meta))

        def shutdown(self) -> None:
            self.ended = True

    def open_sender(client: Any, source: Any, *where: Any) -> Any:
        client.init_weight_transfer_engine({"rank_offset": 1, "world_size": where[2]})
        groups.append(Trainer(client=client, source=source))
        return groups[-1]

    monkeypatch.setattr(broadcast, "open_sender", open_sender)

    def make(config: Config) -> tuple[WeightSender, list[Any]]:
        return WeightSender(config, str(tiny_model), device="cpu"), groups

    return make


def trained(tiny_model: Path, settings: Config) -> Any:
    model = make_trainable(load_base(tiny_model), settings)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.01)
    return model


class Model:
    """Keeps what it is given to load."""

    def __init__(self) -> None:
        self.loaded: dict[str, torch.Tensor] = {}

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        self.loaded |= dict(weights)


class Worker(InPlaceWeights):
    """vLLM's worker, to which ``tensors`` arrive in two parts."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        self.model, self.tensors = Model(), list(tensors.items())
        self.weight_transfer_engine = SimpleNamespace(model=self.model)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        half = len(self.tensors) // 2
        for part in (self.tensors[:half], self.tensors[half:]):
            self.weight_transfer_engine.model.load_weights(iter(part))


def received(tensors: dict[str, torch.Tensor]) -> str:
    return Worker(tensors).receive_checked({})


def test_the_checksum_of_what_arrives_is_taken_before_it_is_loaded() -> None:
    generator = torch.Generator().manual_seed(0)
    sent = {f"{n}.weight": torch.randn(3, n, generator=generator) for n in range(1, 6)}
    worker = Worker(sent)
    checksum = worker.receive_checked({})
    assert worker.model.loaded.keys() == sent.keys()
    assert checksum == worker.receive_checked({}), "each broadcast has its own"
    other = sent | {"4.weight": sent["4.weight"].clone()}
    other["4.weight"][2, 3] += 1e-6
    assert received(other) != checksum


def test_a_version_reaches_all_replicas_merged_and_in_the_engines_type(
    sender: Any, tiny_model: Path
) -> None:
    settings = config(dtype="bfloat16")
    state = adapter_state(trained(tiny_model, settings))
    actor, groups = sender(settings)
    replicas = [Replica(), Replica()]
    checksum = actor.send(weight_update(3, state), replicas)
    (trainer,) = groups
    assert checksum == received(trainer.sent), "what arrives is compared with it"
    expected = dict(merged_weights(tiny_model, state, settings.model.lora))
    assert trainer.sent.keys() == expected.keys()
    for name, tensor in trainer.sent.items():
        assert torch.equal(tensor, expected[name].to(torch.bfloat16))
    assert all(one.steps == ["init", "start", "update", "finish"] for one in replicas)
    assert [one.infos[0]["rank_offset"] for one in replicas] == [1, 3], "two GPUs each"
    told = replicas[0].infos[2]
    assert told["names"] == list(expected) and set(told["dtype_names"]) == {"bfloat16"}
    assert told["shapes"] == [list(tensor.shape) for tensor in expected.values()]


def test_a_fully_trained_model_is_sent_as_it_is(sender: Any, tiny_model: Path) -> None:
    settings = config(finetune="full")
    state = trained_state(trained(tiny_model, settings))
    actor, groups = sender(settings)
    actor.send(weight_update(1, state), [Replica()])
    assert groups[0].sent.keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in groups[0].sent.items())


def test_a_group_lasts_while_its_members_do(sender: Any, tiny_model: Path) -> None:
    settings = config()
    update = weight_update(1, adapter_state(trained(tiny_model, settings)))
    actor, groups = sender(settings)
    stays, goes, comes = Replica(), Replica(), Replica()
    actor.send(update, [stays, goes])
    actor.send(update, [stays, goes])
    assert len(groups) == 1 and stays.steps.count("init") == 1
    actor.send(update, [stays, comes])
    assert len(groups) == 2 and groups[0].ended
    assert stays.steps.count("leave") == 1 and "leave" not in goes.steps
    assert comes.steps == ["init", "start", "update", "finish"]


def test_metadata_and_tensors_agree_also_while_nothing_is_trained(tiny_model: Path) -> None:
    settings = config()
    source = Source(settings, tiny_model, "cpu")
    source.state = adapter_state(add_lora(load_base(tiny_model), settings.model.lora, seed=0))
    assert source.metadata() == [(n, t.dtype, tuple(t.shape)) for n, t in source]


def test_replicas_that_do_not_answer_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(answers: Any, who: str, limit: float) -> None:
        raise TimeoutError(f"{who} did not answer within {limit:.0f} s")

    monkeypatch.setattr(broadcast, "get_with_timeout", late)
    with pytest.raises(TimeoutError, match=r"a generator replica \(start of a broadcast\) .* 5 s"):
        ReplicaClient([Replica()], 1, 5.0).start_weight_update()


def test_only_replicas_on_gpus_can_be_sent_to() -> None:
    with pytest.raises(ValueError, match="transport=nccl needs replicas on GPUs"):
        Config.model_validate({"generator": {"transport": "nccl"}})
