"""Learners that live on after others have taken their place leave no trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from actors.admission.gate import Gate
from actors.checkpoints import folder as checkpoints
from actors.learner.job import LearnerJob
from actors.learner.loop import Learner
from actors.learner.worker_group import WorkerGroup
from actors.runtime.learner_fence import LearnerFence
from actors.supervision.incidents import IncidentLog
from tests.support.direct_client import DirectClient
from tests.support.gates import UIDS
from tests.support.rows import scored
from unisd_core.common.visits import visits_of
from unisd_core.config.run import Config

BATCH = 4


class Store:
    """Keeps which incarnation has published which version, fenced as the real one is."""

    def __init__(self) -> None:
        self.fence = LearnerFence([].append)
        self.published: list[tuple[int, int]] = []

    async def keep(self, bucket: Any) -> list[Any]:
        return [bucket]

    async def publish(self, student: Any, teacher: Any, anew: bool, incarnation: int) -> list[Any]:
        self.fence.check(incarnation, f"version {student.version}")
        self.published.append((incarnation, student.version))
        return []

    async def wait_pushed(self, limit_s: float) -> None: ...


class Cluster:
    """A gate and a store, and learners of one run folder."""

    def __init__(self, model: Path, folder: Path) -> None:
        self.model, self.folder = model, folder
        self.store = Store()
        self.restart_gate()

    def restart_gate(self) -> None:
        """The command is given again."""
        watchdog: Any = DirectClient(IncidentLog())
        self.gate: Any = DirectClient(Gate(len(UIDS), BATCH, 0, 9, 0, watchdog))
        self.slot = 0

    def learner(self) -> Learner:
        tree = {
            "training": {"batch_size": BATCH, "max_steps": 9, "max_staleness": 0, "save_steps": 1},
            "rollout": {"chunk_size": BATCH},
            "outputs": {"tensorboard": False},
            "learner": {"threads": 1},
        }
        watchdog: Any = DirectClient(IncidentLog())
        job = LearnerJob(
            Config.model_validate(tree), self.model, self.folder, self.gate,
            DirectClient(self.store), watchdog,  # type: ignore[arg-type]
        )  # fmt: skip
        learner = Learner(job, WorkerGroup(rank=0, size=1, limit_s=1.0))
        learner.begin()
        self.stream, self.slot = self.gate.open_stream(UIDS), 0
        return learner

    def batch(self) -> pa.Table:
        """What the stream of the newest learner brings next."""
        admitted = self.gate.admit(self.stream, self.slot, BATCH)
        self.slot += 1
        version = self.gate.counters()["version"]
        assert all(self.gate.arrive({one.visit: version for one in admitted}, {}))
        rows = scored(BATCH, seed=self.slot).to_pylist()
        for row, admission in zip(rows, admitted, strict=True):
            row |= {"uid": UIDS[admission.row], **admission.visit._asdict()}
            row |= {"version_first": version, "version_last": version}
        return pa.Table.from_pylist(rows, schema=scored(1).schema)

    def files(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture
def cluster(tiny_model: Path, tmp_path: Path) -> Cluster:
    return Cluster(tiny_model, tmp_path)


def test_learners_that_were_replaced_take_no_step(cluster: Cluster) -> None:
    old = cluster.learner()
    old.step(cluster.batch())
    old.state.writer.wait()
    new = cluster.learner()
    assert cluster.store.published == [(1, 1), (2, 1)]
    batch, before = cluster.batch(), cluster.files()
    with pytest.raises(RuntimeError, match="a step was refused: learners of incarnation 1"):
        old.step(batch)
    with pytest.raises(RuntimeError, match="another batch was refused"):
        old.update_last_step()
    assert cluster.files() == before and cluster.store.published == [(1, 1), (2, 1)]
    new.step(batch)
    new.state.writer.wait()
    assert cluster.store.published == [(1, 1), (2, 1), (2, 2)]
    assert cluster.gate.counters()["consumed"] == 2 * BATCH


def test_a_version_of_before_is_refused_although_its_step_was_taken(cluster: Cluster) -> None:
    old = cluster.learner()
    old.step(cluster.batch())
    old.state.writer.wait()
    batch = cluster.batch()
    cluster.gate.consume(visits_of(batch), {}, None, old.state.incarnation)
    old.state.advance()
    # And here the controller is lost.
    new = cluster.learner()
    with pytest.raises(RuntimeError, match="version 2 was refused: learners of incarnation 1"):
        old.state.publisher.publish(old.version, old.state.incarnation, teacher_moved=True)
    with pytest.raises(RuntimeError, match="a checkpoint was refused"):
        old.state.save()
    assert cluster.store.published[-1] == (2, 1) and new.version == 1
    newest = checkpoints.newest(new.state.writer.folder)
    assert newest is not None and newest.version == 1


def test_incarnations_go_on_when_the_command_is_given_again(cluster: Cluster) -> None:
    for incarnation in (1, 2):
        learner = cluster.learner()
        assert learner.state.incarnation == incarnation
        learner.step(cluster.batch())
        learner.state.writer.wait()
    cluster.restart_gate()
    assert cluster.learner().state.incarnation == 3
