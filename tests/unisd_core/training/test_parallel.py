"""Two workers take the step that one would take: replicas and shards, adapters and whole models.

Two processes work through all cases one after the other: starting one costs more than a case.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from tests.support.rows import scored
from tests.support.tiny import make_tiny_model
from tests.support.two_workers import results, run_two
from unisd_core.config.run import Config
from unisd_core.training.student import Student

FEATURES_ALONE = {"divergence": {"weight": 0}, "contrastive": {"weight": 0}}
LORA, FULL = {"finetune": "lora"}, {"finetune": "full"}

CASES: dict[str, tuple[bool, dict[str, Any], str, dict[str, Any]]] = {
    "-".join((word, model["finetune"], sharding)): (tied, model, sharding, {})
    for (word, tied), model, sharding in itertools.product(
        (("tied", True), ("untied", False)), (LORA, FULL), ("ddp", "fsdp")
    )
} | {
    "bfloat16-lora-fsdp": (False, LORA | {"dtype": "bfloat16"}, "fsdp", {}),
    # What no term reads has no gradient to wait for: a head of its own, blocks behind the layer.
    "features-alone-full-ddp": (False, FULL, "ddp", FEATURES_ALONE),
    "inner-layer-alone-full-ddp": (
        False, FULL, "ddp", FEATURES_ALONE | {"features": {"weight": 1.0, "layers": [1]}},
    ),
    "inner-layer-alone-lora-ddp": (
        True, LORA, "ddp", FEATURES_ALONE | {"features": {"weight": 1.0, "layers": [0, 1]}},
    ),
    "inner-layer-alone-lora-fsdp": (
        True, LORA, "fsdp", FEATURES_ALONE | {"features": {"weight": 1.0, "layers": [0, 1]}},
    ),
}  # fmt: skip


def settings_of(name: str) -> Config:
    _, model, sharding, terms = CASES[name]
    return Config.model_validate(
        {
            "model": model,
            "learner": {"workers": 2, "sharding": sharding},
            "objective": terms,
            # Small enough that the worker with three rows makes more passes than the other.
            "training": {"learning_rate": 1e-2, "micro_batch_tokens": 30, "max_grad_norm": 0.05},
        }
    )


def batch(seed: int, layers: int) -> pa.Table:
    table = scored(4, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    rows = table.to_pylist()
    for row in rows:
        if layers:
            states = torch.randn(layers * len(row["teacher_hidden"]), generator=generator)
            row["teacher_features"] = states.tolist()
    return pa.Table.from_pylist(rows, schema=table.schema)


def model_of(name: str, folder: Path) -> Path:
    return folder / ("tied" if CASES[name][0] else "untied")


def _train(name: str, folder: Path, rank: int) -> None:
    settings = settings_of(name)
    layers = len(settings.objective.features.extra_layers)
    student = Student(settings, model_of(name, folder), world=2)
    start = student.weights()
    for version, table in enumerate((batch(1, layers), batch(2, layers))):
        mine = table.slice(0, 3) if rank == 0 else table.slice(3, 1)
        student.update(mine, version=50 + version, global_rows=4)
        if version == 0:
            # Through a checkpoint and back, which must change nothing.
            weights, optimizer = student.weights(), student.optimizer_state()
            student.restore(start, {})
            student.restore(weights, optimizer)
    if student.sharded or rank == 0:
        assert student.logprob_gap(scored(1).to_pylist()[0], start) >= 0
    torch.save((student.weights(), student.optimizer_state()), folder / f"{name}-{rank}.pt")


def train_all(folder: Path, rank: int) -> None:
    for name in CASES:
        _train(name, folder, rank)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with both models and what the two workers made of each case."""
    folder = tmp_path_factory.mktemp("parallel")
    for tied in (True, False):
        make_tiny_model(folder / ("tied" if tied else "untied"), tie_word_embeddings=tied)
    run_two(train_all, folder, limit_s=500)
    return folder


@pytest.mark.parametrize("name", CASES)
def test_two_workers_give_the_same_update_as_one(name: str, trained: Path) -> None:
    (first, optimizer), (second, _) = results(trained, name)
    settings = settings_of(name)
    # As many as the workers have: Adam makes more of another order of sums than is allowed below.
    torch.set_num_threads(1)
    alone = Student(settings, model_of(name, trained))
    before = alone.weights()
    layers = len(settings.objective.features.extra_layers)
    for version, table in enumerate((batch(1, layers), batch(2, layers))):
        alone.update(table, version=50 + version, global_rows=4)
    expected = alone.weights()
    assert first.keys() == expected.keys()
    moved = {name for name in expected if not torch.equal(expected[name], before[name])}
    assert len(moved) > 5
    for key, tensor in expected.items():
        assert torch.equal(first[key], second[key]), key
        torch.testing.assert_close(first[key], tensor, atol=2e-5, rtol=1e-3, msg=key)
    # Whole on disk, so that another number of workers can go on from it.
    state = alone.optimizer_state()
    assert {key: value.shape for key, value in optimizer.items()} == {
        key: value.shape for key, value in state.items()
    }
    alone.restore(first, optimizer)
    again = alone.optimizer_state()
    assert all(torch.equal(again[key], optimizer[key]) for key in optimizer)
