"""One update: what changes it, and that it does not depend on how rows are dealt out."""

from __future__ import annotations

import multiprocessing
import socket
from pathlib import Path

import pyarrow as pa
import pytest
import torch
import torch.distributed as dist

from actors.student import Student, learning_rate
from tests.actors.rows import scored
from unisd_core.config import Config, Training
from unisd_core.objective.metrics import finalise_metrics


def config(**changes) -> Config:
    return Config.model_validate({"training": {"learning_rate": 1e-2, **changes}})


def updated(student: Student, table: pa.Table) -> dict[str, torch.Tensor]:
    student.update(table, version=50, global_rows=table.num_rows)
    return student.weights()


def difference(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> float:
    return max(float((left[name] - right[name]).abs().max()) for name in left)


def test_micro_batches_give_the_same_update(tiny_model):
    table = scored(6)
    whole = updated(Student(config(), tiny_model), table)
    parts = updated(Student(config(micro_batch_tokens=1), tiny_model), table)
    untouched = Student(config(), tiny_model).weights()
    assert difference(whole, untouched) > 1e-3
    assert difference(whole, parts) < 1e-5


def test_two_equal_runs_give_equal_bytes(tiny_model):
    first, second = (updated(Student(config(), tiny_model), scored(4)) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_restore_continues_exactly(tiny_model):
    whole = Student(config(), tiny_model)
    updated(whole, scored(4, seed=1))
    resumed = Student(config(), tiny_model)
    resumed.restore(whole.weights(), whole.optimizer_state())
    assert difference(updated(whole, scored(4, seed=2)), updated(resumed, scored(4, seed=2))) == 0


def test_the_gap_is_measured_under_the_version_that_sampled(tiny_model):
    student = Student(config(), tiny_model)
    initial = student.weights()
    row = scored(1).to_pylist()[0]
    row["logprobs"] = [0.0] * len(row["completion_ids"])
    gap = student.logprob_gap(row, initial)
    updated(student, scored(4))
    trained = student.weights()
    assert student.logprob_gap(row, initial) == pytest.approx(gap, abs=1e-6)
    assert abs(student.logprob_gap(row, trained) - gap) > 1e-4
    assert difference(student.weights(), trained) == 0


def test_a_gradient_that_is_not_finite_stops_before_the_step(tiny_model):
    table = scored(2)
    broken = table.to_pylist()
    broken[0]["teacher_hidden"] = [float("nan")] * len(broken[0]["teacher_hidden"])
    student = Student(config(), tiny_model)
    before = student.weights()
    with pytest.raises(FloatingPointError, match="row-0"):
        updated(student, pa.Table.from_pylist(broken, schema=table.schema))
    assert difference(student.weights(), before) == 0


def _worker(rank: int, port: int, model: Path, table: pa.Table, out: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    student = Student(config(), model, world=2)
    # Unequal shares: three rows and one row.
    mine = table.slice(0, 3) if rank == 0 else table.slice(3, 1)
    student.update(mine, version=50, global_rows=table.num_rows)
    torch.save(student.weights(), out / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_workers_give_the_same_update_as_one(tiny_model, tmp_path):
    table = scored(4)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_worker, args=(rank, port, tiny_model, table, tmp_path))
        for rank in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    alone = updated(Student(config(), tiny_model), table)
    assert difference(first, second) == 0
    assert difference(first, alone) < 1e-5


def test_metrics_name_every_mechanism(tiny_model):
    sums = Student(config(), tiny_model).update(scored(4), version=50, global_rows=4)
    metrics = finalise_metrics(sums)
    for name in ("agreement_spread", "contrastive_active_fraction", "feature_distance"):
        assert metrics[name] > 0, name
    assert "engine_learner_logprob_gap" not in metrics, "no row of the current version"


def test_the_rate_rises_then_falls_to_a_tenth():
    settings = Training(steps=100, warmup=0.1, learning_rate=1.0, schedule="cosine")
    rates = [learning_rate(settings, step) for step in range(100)]
    assert rates[0] < rates[5] < rates[10] == max(rates) == 1.0
    assert 0.1 <= rates[-1] < 0.11
    assert learning_rate(settings.model_copy(update={"schedule": "constant"}), 90) == 1.0
