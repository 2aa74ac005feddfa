"""Two workers take the step that one would take: replicas and shards, adapters and whole models."""

from __future__ import annotations

import multiprocessing
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from actors.student import Student
from tests.actors.rows import scored
from tests.tiny import make_tiny_model
from unisd_core.config import Config

CASES = [
    pytest.param({"finetune": "lora"}, "ddp", {}, id="lora-ddp"),
    pytest.param({"finetune": "lora"}, "fsdp", {}, id="lora-fsdp"),
    pytest.param({"finetune": "full"}, "ddp", {}, id="full-ddp"),
    pytest.param({"finetune": "full"}, "fsdp", {}, id="full-fsdp"),
    pytest.param(
        {"finetune": "full"},
        "ddp",
        {"divergence": {"weight": 0}, "contrastive": {"weight": 0}},
        id="full-ddp-features-alone",
    ),
]


def config(model: dict, sharding: str, terms: dict) -> Config:
    return Config.model_validate(
        {
            "model": model,
            "learner": {"workers": 2, "sharding": sharding},
            "objective": terms,
            # Small enough that the worker with three rows makes more passes than the other.
            "training": {"learning_rate": 1e-2, "micro_batch_tokens": 30, "max_grad_norm": 0.05},
        }
    )


def _worker(rank: int, port: int, settings: Config, model: Path, out: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    student = Student(settings, model, world=2)
    start = student.weights()
    for version, table in enumerate((scored(4, seed=1), scored(4, seed=2))):
        mine = table.slice(0, 3) if rank == 0 else table.slice(3, 1)
        student.update(mine, version=50 + version, global_rows=4)
        if version == 0:
            # Through a checkpoint and back, which must change nothing.
            weights, optimizer = student.weights(), student.optimizer_state()
            student.restore(start, {})
            student.restore(weights, optimizer)
    row = scored(1).to_pylist()[0]
    if student.sharded or rank == 0:
        assert student.logprob_gap(row, start) >= 0
    torch.save(student.weights(), out / f"{rank}.pt")
    torch.save(student.optimizer_state(), out / f"optimizer-{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize(("model", "sharding", "terms"), CASES)
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_two_workers_give_the_same_update_as_one(model, sharding, terms, tied, tmp_path):
    folder = make_tiny_model(tmp_path / "model", tie_word_embeddings=tied)
    settings = config(model, sharding, terms)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_worker, args=(rank, port, settings, folder, tmp_path))
        for rank in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(180)
        assert worker.exitcode == 0
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    alone = Student(settings, folder)
    before = alone.weights()
    for version, table in enumerate((scored(4, seed=1), scored(4, seed=2))):
        alone.update(table, version=50 + version, global_rows=4)
    expected = alone.weights()
    assert first.keys() == expected.keys()
    moved = {name for name in expected if not torch.equal(expected[name], before[name])}
    assert len(moved) > 5
    for name, tensor in expected.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], tensor, atol=2e-5, rtol=1e-3, msg=name)
    saved = torch.load(tmp_path / "optimizer-0.pt", weights_only=True)
    assert {name: value.shape for name, value in saved.items()} == {
        name: value.shape for name, value in alone.optimizer_state().items()
    }
