"""Two workers leave out the same rows and take, or skip, the same steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
import torch.distributed as dist

from tests.support.rows import scored
from tests.support.two_workers import results, run_two
from unisd_core.config.run import Config
from unisd_core.training.student import Student
from unisd_core.training.update import update_without_bad_rows

CASES = {"lora-ddp": ("lora", "ddp"), "full-fsdp": ("full", "fsdp")}

BATCHES: tuple[tuple[dict[int, str], set[int]], ...] = (
    # Rows 0 to 2 go to the first worker, row 3 to the second. What is wrong with which row, and
    # which rows are lost.
    ({1: "teacher_hidden"}, {1}),
    ({0: "teacher_hidden", 2: "sequence_weight"}, {0, 1, 2, 3}),
    ({2: "token_weights"}, {2}),
    ({3: "logprobs"}, {0, 1, 2, 3}),
    ({}, set()),
)


def batch(number: int) -> pa.Table:
    table = scored(4, seed=number)
    rows = table.to_pylist()
    for index, column in BATCHES[number][0].items():
        if column == "sequence_weight":
            rows[index][column] = 1e30  # only the gradient is not finite
        else:
            # Columns are looked at first; what adds up to infinity shows only in the loss.
            value = 3e38 if column == "token_weights" else float("nan")
            rows[index][column] = [value] * len(rows[index][column])
    return pa.Table.from_pylist(rows, schema=table.schema)


def settings_of(name: str) -> Config:
    finetune, sharding = CASES[name]
    return Config.model_validate(
        {
            "model": {"finetune": finetune},
            "learner": {"workers": 2, "sharding": sharding},
            # Small enough that the worker with more rows makes more passes than the other.
            "training": {"learning_rate": 1e-2, "micro_batch_tokens": 30},
        }
    )


def gather(value: Any) -> list[Any]:
    parts: list[Any] = [None, None]
    dist.all_gather_object(parts, value)
    return parts


def _train(name: str, folder: Path, rank: int) -> None:
    student = Student(settings_of(name), folder / "model", world=2)
    lost = []
    for number in range(len(BATCHES)):
        table = batch(number)
        mine = table.slice(0, 3) if rank == 0 else table.slice(3, 1)
        before = student.weights()
        done = update_without_bad_rows(student, mine, 50 + number, gather)
        lost.append(sorted(row.position for row in done.bad))
        moved = any(not torch.equal(w, before[key]) for key, w in student.weights().items())
        assert moved == (done.sums is not None)
    torch.save((student.weights(), lost), folder / f"{name}-{rank}.pt")


def train_all(folder: Path, rank: int) -> None:
    for name in CASES:
        _train(name, folder, rank)


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with what the two workers made of each case."""
    folder = tmp_path_factory.mktemp("workers")
    (folder / "model").symlink_to(tiny_model)
    run_two(train_all, folder, limit_s=300)
    return folder


@pytest.mark.parametrize("name", CASES)
def test_two_workers_agree_on_what_is_left_out(name: str, trained: Path) -> None:
    (first, lost), (second, others) = results(trained, name)
    assert lost == others == [sorted(left_out) for _, left_out in BATCHES]
    alone = Student(settings_of(name), trained / "model")
    for number, (_, left_out) in enumerate(BATCHES):
        keep = [row not in left_out for row in range(4)]
        if any(keep):
            alone.update(batch(number).filter(pa.array(keep)), 50 + number, sum(keep))
    expected = alone.weights()
    assert first.keys() == expected.keys()
    for key, tensor in expected.items():
        assert torch.equal(first[key], second[key]), key
        # Where a gradient is nearly 0, AdamW makes more of its rounding than of itself.
        off = ~torch.isclose(first[key], tensor, atol=2e-5, rtol=1e-3)
        assert off.sum() <= 1 + tensor.numel() // 1000, key
        torch.testing.assert_close(first[key], tensor, atol=1e-3, rtol=0.0, msg=key)
