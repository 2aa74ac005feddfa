"""State the learner carries from one batch to the next, without Ray: thresholds, heads,
checkpoints."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from actors.admission.ledger import Ledger
from actors.checkpoints import folder as checkpoints
from actors.learner.job import LearnerJob
from actors.learner.loop import Learner
from actors.learner.worker_group import WorkerGroup
from tests.support.rows import scored
from unisd_core.config.run import Config
from unisd_core.training.student import SMALLEST_CLIP

BATCH = 4
ALONE = WorkerGroup(rank=0, size=1, limit_s=1.0)


class Actor:
    """Stands for the client of an actor: answers at once and keeps what it was called with."""

    def __init__(self, **answers: Any) -> None:
        self.answers, self.calls = answers, []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            self.calls.append((name, arguments))
            return self.answers.get(name)

        call.within = lambda limit_s: call
        return call


@pytest.fixture
def start(tiny_model: Path, tmp_path: Path):
    """Makes a learner that has begun, in the run folder of the test. What the one before it has to
    write is written by then."""
    begun: list[Learner] = []

    def begin(run: str = "run", **settings: Any) -> Learner:
        (tmp_path / run).mkdir(exist_ok=True)
        for earlier in begun:
            earlier.state.writer.wait()
        training = {"batch_size": BATCH, "learning_rate": 1e-2, "save_steps": 1, "max_staleness": 1}
        training |= settings.pop("training", {})
        tree = {
            "training": training,
            "rollout": {"chunk_size": BATCH},
            "outputs": {"tensorboard": False},
            # Threads are set for the whole process, so also for the tests that come after.
            "learner": {"threads": 1},
            **settings,
        }
        ledger = Ledger(rows=9, batch=BATCH, staleness=1, steps=9, seed=0)
        gate, store = (
            Actor(state=ledger.state(), is_open=True, begin_incarnation=1),
            Actor(publish=[], keep=["reference"]),
        )
        config, folder = Config.model_validate(tree), tmp_path / run
        job = LearnerJob(config, tiny_model, folder, gate, store, watchdog=Actor())
        learner = Learner(job, ALONE)
        learner.begin()
        begun.append(learner)
        return learner

    return begin


def batch(version: int, teacher_version: int = 0, scale: float | None = 1.0) -> pa.Table:
    rows = scored(BATCH, seed=version).to_pylist()
    for row in rows:
        row |= {"version_first": version, "version_last": version, "agreement_scale": scale}
        row["teacher_version"] = teacher_version
    return pa.Table.from_pylist(rows, schema=scored(1).schema)


def clip_by_quantile(quantile: float) -> dict[str, Any]:
    return {"objective": {"divergence": {"clip": None, "clip_quantile": quantile}}}


def metrics_of(learner: Learner) -> list[dict[str, Any]]:
    path = learner.job.run_path / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_clip_is_a_quantile_of_the_batch_before(start) -> None:
    learner = start(**clip_by_quantile(0.5))
    assert learner.state.student.clip is None
    learner.step(batch(0))
    expected = float(np.quantile(learner.state.student.divergences, 0.5))
    assert learner.state.student.clip == pytest.approx(expected) and expected > SMALLEST_CLIP
    learner.step(batch(1))
    first, second = metrics_of(learner)
    assert "clip_threshold" not in first and first["clipped_fraction"] == 0.0
    assert second["clip_threshold"] == pytest.approx(expected)
    assert second["clipped_fraction"] > 0.0
    # Unclipped values are what counts, or the bound could only ever shrink.
    assert learner.state.student.divergences.max() > expected


def test_a_quantile_of_nothing_does_not_clip_everything(start) -> None:
    learner = start(**clip_by_quantile(0.5))
    learner.state.student.divergences = np.zeros(5, np.float32)
    learner.state.move_thresholds(batch(0))
    assert learner.state.student.clip == SMALLEST_CLIP


def test_a_quantile_clip_without_a_divergence_is_idle(start) -> None:
    settings = {"divergence": {"weight": 0, "clip": None, "clip_quantile": 0.5}}
    learner = start(objective=settings)
    learner.step(batch(0))
    assert learner.version == 1 and learner.state.student.clip is None


def test_a_resumed_run_continues_exactly_and_hands_the_scale_to_the_gate(start) -> None:
    settings = clip_by_quantile(0.5)
    undisturbed = start("whole", **settings)
    undisturbed.step(batch(0, scale=2.5))
    undisturbed.step(batch(1, scale=2.5))
    start("parts", **settings).step(batch(0, scale=2.5))
    resumed = start("parts", **settings)
    assert resumed.version == 1 and resumed.state.student.clip is not None
    (restored,) = [arguments for name, arguments in resumed.job.gate.calls if name == "restore"]
    assert restored[1] == 2.5
    resumed.step(batch(1, scale=2.5))
    expected, got = undisturbed.state.student.weights(), resumed.state.student.weights()
    assert all(torch.equal(got[name], expected[name]) for name in expected)
    assert resumed.state.student.clip == undisturbed.state.student.clip


def test_heads_are_kept_while_rows_may_have_been_read_with_them(start) -> None:
    learner = start(model={"finetune": "full"}, teacher={"kind": "live"})
    base = learner.state.student.head_VH.detach().clone()
    assert list(learner.state.student.teacher_heads) == [0]
    for version in range(6):
        learner.step(batch(version, teacher_version=version))
        heads = learner.state.student.teacher_heads
        # A row of version v - 1 (staleness 1) may still come.
        assert {version, version + 1} <= heads.keys()
        assert len(heads) <= 2 * (learner.config.training.max_staleness + 1) + 1
    assert not torch.equal(learner.state.student.teacher_heads[6], base)
    assert torch.equal(learner.state.student.teacher_heads[6], learner.state.student.head_VH)


@pytest.mark.parametrize("teacher", [{"kind": "frozen"}, {"kind": "ema", "follows": "frozen"}])
def test_a_teacher_that_stays_keeps_the_one_head_it_has(start, teacher) -> None:
    learner = start(model={"finetune": "full"}, teacher=teacher)
    base = learner.state.student.head_VH.detach().clone()
    for version in range(3):
        learner.step(batch(version))
    ((version, head_VH),) = learner.state.student.teacher_heads.items()
    assert version == 0 and torch.equal(head_VH, base)
    assert not torch.equal(learner.state.student.head_VH, base)
    assert all(line["teacher_moved"] == 0.0 for line in metrics_of(learner))


def test_a_seldom_moved_teacher_keeps_the_head_of_its_last_move(start) -> None:
    settings = {"teacher": {"kind": "ema", "ema_decay": 0.5, "ema_every": 5}}
    learner = start(model={"finetune": "full"}, **settings)
    for version in range(9):
        learner.step(batch(version, teacher_version=0 if version < 5 else 5))
    assert 5 in learner.state.student.teacher_heads


def test_a_row_read_with_an_unknown_head_is_an_error(start) -> None:
    learner = start(model={"finetune": "full"})
    with pytest.raises(RuntimeError, match="teacher 7"):
        learner.step(batch(0, teacher_version=7))


def test_a_full_run_resumes_with_the_head_of_its_teacher(start) -> None:
    settings = {"model": {"finetune": "full"}, "teacher": {"kind": "ema", "ema_decay": 0.5}}
    first = start("one", **settings)
    first.step(batch(0))
    resumed = start("one", **settings)
    assert list(resumed.state.student.teacher_heads) == [1]
    assert torch.equal(resumed.state.student.teacher_heads[1], first.state.student.teacher_heads[1])
    (published,) = [a for name, a in resumed.job.store.calls if name == "publish"]
    assert published[1].version == 1, "the version rows will be stamped with"


def test_trajectories_on_disk_hold_no_states_of_the_teacher(start, tmp_path: Path) -> None:
    start().step(batch(0))
    names = pq.read_schema(next((tmp_path / "run" / "trajectories").glob("*.parquet"))).names
    assert "auxiliary_logprobs" in names
    assert not {"teacher_hidden", "teacher_features", "teacher_topk_logprobs"} & set(names)


def newest_of(learner: Learner) -> checkpoints.Checkpoint:
    found = checkpoints.newest(learner.state.writer.folder)
    assert found is not None
    return found


@pytest.mark.parametrize("steps", [0, 2, 3])
def test_the_first_and_the_last_checkpoint_are_complete_on_return(start, steps: int) -> None:
    learner = start(training={"save_steps": 2})
    assert newest_of(learner).version == 0
    for version in range(steps):
        learner.step(batch(version))
    learner.finish()
    assert newest_of(learner).version == steps


@pytest.mark.parametrize("finetune", ["lora", "full"])
def test_steps_taken_during_a_write_do_not_change_what_is_written(
    start, monkeypatch: pytest.MonkeyPatch, finetune: str
) -> None:
    teacher = {"kind": "ema", "ema_decay": 0.5}
    learner = start(model={"finetune": finetune}, teacher=teacher, training={"save_steps": 2})
    save, free = checkpoints.save, threading.Event()

    def slow(*arguments: Any) -> Path:
        assert free.wait(60)
        return save(*arguments)

    monkeypatch.setattr(checkpoints, "save", slow)
    learner.step(batch(0))
    learner.step(batch(1, teacher_version=1))
    copy = {name: tensor.clone() for name, tensor in learner.state.student.weights().items()}
    moments = {
        name: tensor.clone() for name, tensor in learner.state.student.optimizer_state().items()
    }
    average = {name: tensor.clone() for name, tensor in learner.state.teacher.state_dict().items()}
    rows = learner.state.totals.rows
    learner.step(batch(2, teacher_version=2))
    free.set()
    learner.state.writer.wait()
    found = newest_of(learner)
    assert found.version == 2 and found.totals["rows"] == rows
    for read, expected in (
        (found.adapter, copy),
        (found.optimizer, moments),
        (found.teacher, average),
    ):
        assert read.keys() == expected.keys()
        assert all(torch.equal(read[name], expected[name]) for name in expected)


@pytest.mark.parametrize("where", ["next save", "end"])
def test_a_checkpoint_that_cannot_be_written_fails_the_learner(
    start, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def full(*_: Any) -> Path:
        raise OSError(28, "No space left on device")

    learner = start()
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save", full)
        learner.step(batch(0))
        with pytest.raises(RuntimeError, match="checkpoint of step 1 was not written"):
            learner.step(batch(1)) if where == "next save" else learner.finish()
    assert newest_of(learner).version == 0


def test_a_run_in_a_new_folder_goes_on_from_its_mirror(start, tmp_path: Path) -> None:
    training = {"checkpoint_mirror": (tmp_path / "mirror").as_uri()}
    first = start("one", training=training)
    first.step(batch(0))
    first.finish()
    second = start("two", training=training)
    assert second.version == 1
    expected, got = first.state.student.weights(), second.state.student.weights()
    assert all(torch.equal(got[name], expected[name]) for name in expected)
