"""Two workers take the same steps, give up the same batches, and resume from one checkpoint."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from actors.admission.gate import Gate
from actors.learner.job import LearnerJob
from actors.learner.loop import TOO_OLD, Learner
from actors.learner.worker_group import WorkerGroup
from actors.supervision.incidents import IncidentLog
from tests.support.direct_client import DirectClient
from tests.support.rows import scored
from tests.support.two_workers import results, run_two
from unisd_core.config.run import Config

BATCH = 4
UIDS = [f"row-{row}" for row in range(30)]

BATCHES: tuple[dict[int, str], ...] = (
    # What is wrong with which row. Rows 0 and 1 go to the first worker, rows 2 and 3 to the second.
    {},
    {3: "not a number"},
    {2: "too old", 3: "too old"},
    {0: "too old"},
)
CLOSED = {"consumed": 10, "failed": 1, "stale": 5, "in_flight": 0}


class Store:
    """Takes what is published."""

    async def keep(self, bucket: Any) -> list[Any]:
        return [bucket]

    async def publish(self, *_: Any) -> list[Any]:
        return []

    async def wait_pushed(self, *_: Any) -> None: ...


class OpenGate:
    """All that a worker which is not the first asks of the gate."""

    async def is_open(self) -> bool:
        return True


class Run:
    """One worker, and for the first one a gate."""

    def __init__(self, folder: Path, rank: int) -> None:
        tree = {
            "training": {"batch_size": BATCH, "max_steps": 9, "max_staleness": 0, "save_steps": 9},
            "rollout": {"chunk_size": BATCH},
            "outputs": {"tensorboard": False},
            "learner": {"workers": 2},
        }
        self.gate: Gate | None = None
        if rank == 0:
            watchdog = DirectClient(IncidentLog())
            self.gate = Gate(len(UIDS), BATCH, staleness=0, steps=9, seed=0, watchdog=watchdog)
        self.gate_client = DirectClient(self.gate or OpenGate())
        store, watchdog = (
            DirectClient(one) if rank == 0 else None for one in (Store(), IncidentLog())
        )
        job = LearnerJob(
            Config.model_validate(tree),
            folder / "model",
            folder / "run",
            self.gate_client,
            store,
            watchdog,
        )
        self.learner = Learner(job, WorkerGroup(rank, size=2, limit_s=60.0))
        self.learner.begin()

    def train(self) -> None:
        stream = self.gate_client.open_stream(UIDS) if self.gate else 0
        for slot, faults in enumerate(BATCHES):
            batch = self._batch(stream, slot, faults) if self.gate else None
            self.learner.step(self.learner.workers.share(batch))
        self.learner.finish()

    def _batch(self, stream: int, slot: int, faults: dict[int, str]) -> pa.Table:
        version = self.learner.version
        admitted = self.gate_client.admit(stream, slot, BATCH)
        assert all(self.gate_client.arrive({one.visit: version for one in admitted}, {}))
        rows = scored(BATCH, seed=slot).to_pylist()
        for number, (row, admission) in enumerate(zip(rows, admitted, strict=True)):
            old = faults.get(number) == "too old"
            row |= {"uid": UIDS[admission.row], **admission.visit._asdict()}
            row |= dict.fromkeys(["version_first", "version_last"], version - old)
            if faults.get(number) == "not a number":
                row["teacher_hidden"][0] = float("nan")
        return pa.Table.from_pylist(rows, schema=scored(1).schema)


def train_and_resume(folder: Path, rank: int) -> None:
    run = Run(folder, rank)
    run.train()
    ledger = run.gate_client.counters() if run.gate else {}
    again = Run(folder, rank)
    weights = [one.learner.state.student.weights() for one in (run, again)]
    seen = (weights, [run.learner.version, again.learner.version], ledger)
    torch.save(seen, folder / f"run-{rank}.pt")


@pytest.mark.slow
def test_two_workers_train_as_one(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    (tmp_path / "run").mkdir()
    run_two(train_and_resume, tmp_path, limit_s=240)
    (first, versions, ledger), (second, others, _) = results(tmp_path, "run")
    assert versions == others == [3, 3]
    for mine, theirs in zip(first, second, strict=True):
        assert all(torch.equal(theirs[name], mine[name]) for name in mine)
    trained, resumed = first
    assert all(torch.equal(resumed[name], trained[name]) for name in trained)
    assert {name: ledger[name] for name in CLOSED} == CLOSED
    assert ledger["reasons"] == {
        "failed: not finite: teacher_hidden": 1, f"stale: {TOO_OLD}": 5
    }  # fmt: skip
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["rows"] for line in lines] == [4, 3, 3]
    trajectories = sorted(path.name for path in (tmp_path / "run" / "trajectories").iterdir())
    assert len(trajectories) == 2 * 3, "each worker writes its own rows"
