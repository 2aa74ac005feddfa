"""A learner among bad numbers, with a real gate: accounts close, and the run ends at the limit."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from actors.admission.gate import Gate
from actors.learner.job import LearnerJob
from actors.learner.loop import Learner
from actors.learner.worker_group import WorkerGroup
from actors.supervision.incidents import IncidentLog, RunFailure
from tests.support.direct_client import DirectClient
from tests.support.rows import scored
from unisd_core.common.errors import UserError
from unisd_core.config.run import Config

BATCH = 4
UIDS = [f"row-{row}" for row in range(30)]


class Store:
    async def keep(self, bucket: Any) -> list[Any]:
        return [bucket]

    async def publish(self, *_: Any) -> list[Any]:
        return []

    async def wait_pushed(self, *_: Any) -> None: ...


class Run:
    """A learner, its gate, and a stream that brings what the gate admits."""

    def __init__(self, model: Path, folder: Path, **training: Any) -> None:
        self.log = IncidentLog()
        watchdog = DirectClient(self.log)
        self.gate = Gate(len(UIDS), BATCH, staleness=0, steps=9, seed=0, watchdog=watchdog)
        self.gate_client = DirectClient(self.gate)
        tree = {
            "training": {"batch_size": BATCH, "max_steps": 9, "max_staleness": 0, "save_steps": 1,
                         "learning_rate": 1e-3, **training},
            "rollout": {"chunk_size": BATCH},
            "outputs": {"tensorboard": False},
            "learner": {"threads": 1},
        }  # fmt: skip
        config = Config.model_validate(tree)
        job = LearnerJob(config, model, folder, self.gate_client, DirectClient(Store()), watchdog)
        self.learner = Learner(job, WorkerGroup(rank=0, size=1, limit_s=1.0))
        self.learner.begin()
        self.stream, self.slot = self.gate_client.open_stream(UIDS), 0

    def step(self, *bad: int) -> None:
        """The next batch, with NaN for a teacher in the rows of these numbers."""
        rows = scored(BATCH, seed=self.slot).to_pylist()
        admitted = self.gate_client.admit(self.stream, self.slot, BATCH)
        self.slot += 1
        assert len(admitted) == BATCH, "all room of the batch before has come back"
        version = self.gate.ledger.version
        for number, (row, admission) in enumerate(zip(rows, admitted, strict=True)):
            assert admission.min_version == version
            row |= {"uid": UIDS[admission.row], **admission.visit._asdict()}
            row |= {"version_first": version, "version_last": version}
            if number in bad:
                row["teacher_hidden"][0] = math.nan
        arrived = {admission.visit: version for admission in admitted}
        assert all(self.gate_client.arrive(arrived, {}))
        self.learner.step(pa.Table.from_pylist(rows, schema=scored(1).schema))

    def counters(self) -> dict[str, Any]:
        return self.gate_client.counters()

    def lines(self, name: str) -> list[dict[str, Any]]:
        path = self.learner.job.run_path / name
        return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def start(tiny_model: Path, tmp_path: Path):
    return lambda **training: Run(tiny_model, tmp_path, **training)


def test_bad_rows_end_as_failed_and_their_room_returns(start) -> None:
    run = start()
    run.step()
    run.step(1)
    run.step(0, 1, 2, 3)
    run.step(2, 3)
    counters = run.counters()
    assert counters["version"] == 3
    assert (counters["consumed"], counters["failed"], counters["in_flight"]) == (9, 7, 0)
    assert counters["reasons"] == {"failed: not finite: teacher_hidden": 7}
    metrics = run.lines("metrics.jsonl")
    assert [(line["bad_rows"], line["bad_batches"]) for line in metrics] == [(0, 0), (1, 1), (7, 3)]
    assert [line["rows"] for line in metrics] == [4, 3, 2]
    bad = run.lines("bad_rows.jsonl")
    assert [row["position"] for row in bad] == [5, 8, 9, 10, 11, 14, 15]
    assert [row["version"] for row in bad] == [1, 2, 2, 2, 2, 2, 2]
    assert bad[0]["uid"] == UIDS[run.gate.ledger.order.row_of(5)]


def test_a_batch_that_is_skipped_is_not_a_step(start) -> None:
    run = start(skip_grad_norm=1e-6)
    before = run.learner.state.student.weights()
    run.step()
    assert run.learner.version == 0 and run.counters()["failed"] == BATCH
    after = run.learner.state.student.weights()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert not (run.learner.job.run_path / "metrics.jsonl").exists()


def test_the_count_goes_on_after_a_restart(start) -> None:
    before = start()
    before.step(0)
    before.learner.state.writer.wait()
    run = start()
    assert run.learner.version == 1
    run.step(0, 1)
    assert run.lines("metrics.jsonl")[-1]["bad_rows"] == 3
    assert run.counters()["failed"] == 3
    assert len(run.lines("bad_rows.jsonl")) == 3


def test_past_the_limit_the_run_ends_with_an_error_that_names_the_file(start) -> None:
    run = start(max_bad_batches=2)
    run.step(0)
    run.step(0)
    run.step()
    run.step(1)
    run.step(0, 1, 2, 3)
    with pytest.raises(UserError, match=r"3 batches in a row .*2: not finite: teacher_hidden") as e:
        run.step(2, 3)
    file = run.learner.job.run_path / "bad_rows.jsonl"
    assert str(file) in str(e.value) and "\n" not in str(e.value)
    assert len(run.lines("bad_rows.jsonl")) == 1 + 1 + 1 + 4 + 2
    # Ray Train passes errors on as text; this is where the driver finds it. The rows it would
    # list are in the file already.
    assert asyncio.run(run.log.failure()) == RunFailure(str(e.value))


def test_weights_that_one_step_has_blown_up_end_the_run(start) -> None:
    run = start(max_bad_batches=1, learning_rate=1e30, warmup_ratio=0.0)
    run.step()
    assert run.learner.version == 1
    run.step()
    with pytest.raises(UserError, match="not finite: student_logprob"):
        run.step()
    assert run.learner.version == 1
    assert {row["reason"] for row in run.lines("bad_rows.jsonl")} == {"not finite: student_logprob"}
