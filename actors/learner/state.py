"""Learner state: what a worker carries from step to step, and the checkpoints that keep it."""

from __future__ import annotations

import dataclasses
import time

import pyarrow as pa

from actors.admission.gate import GateClient
from actors.checkpoints import folder as checkpoints
from actors.checkpoints.writer import CheckpointWriter
from actors.learner.job import LearnerJob
from actors.learner.worker_group import WorkerGroup
from actors.runtime.calls import START_TIMEOUT_S
from actors.weights.publisher import PolicyPublisher
from unisd_core.models.lora import adapter_checksum
from unisd_core.reporting.run_dir import RunDir
from unisd_core.training.batch_stats import BatchTotals
from unisd_core.training.student import Student
from unisd_core.training.teacher import TeacherWeights

OPENING_S = 0.5
"""Seconds between two looks at whether the gate is open."""


class LearnerState:
    """Student, teacher and policy versions of one worker, sums over all steps, and thresholds."""

    def __init__(self, job: LearnerJob, workers: WorkerGroup) -> None:
        self.job, self.config, self.workers = job, job.config, workers
        self.student = Student(self.config, job.model_dir, workers.size)
        self.teacher = TeacherWeights(self.config.teacher, self.student.weights())
        self.publisher = PolicyPublisher(self.config, self.student, self.teacher, job.store)
        self.writer = CheckpointWriter(self.config, job.run_path)
        self.version = 0
        self.incarnation = 0
        """Of the group of learners: what an earlier one still sends is refused. The first worker's
        alone."""
        self.totals = BatchTotals()
        self.agreement_scale: float | None = None

    def resume(self, run_dir: RunDir) -> int:
        """Load the newest checkpoint, or write the first one; make gate, generators and ``run_dir``
        agree with it. Returns the step after which the run ends. Raises RuntimeError when the
        workers do not find the same checkpoint."""
        found = self._load_newest()
        last_step = self.config.training.max_steps
        if self.workers.is_first:
            run_dir.resume_from(self.version)
            self.incarnation = self.job.gate.begin_incarnation(found.incarnation if found else 0)
            ledger = found.ledger if found else None
            last_step = self.job.gate.restore(ledger, self.agreement_scale, self.incarnation)
        if found is None:
            self.save()
        elif self.workers.is_first:
            await_opening(self.job.gate)
            frozen = self.config.teacher.kind == "frozen"
            self.publisher.publish(
                self.version, self.incarnation, teacher_moved=not frozen, anew=True
            )
            # Replicas may still serve versions that were rolled back.
            limit = START_TIMEOUT_S + self.config.generator.timeout_s
            self.job.store.wait_pushed.within(2 * limit)(limit)
        return self.workers.from_first(last_step)

    def _load_newest(self) -> checkpoints.Checkpoint | None:
        """Restore the newest checkpoint, if there is one; the mirror's where the run's folder has
        none."""
        if self.workers.is_first:
            self.writer.fetch_missing()
        self.workers.barrier()  # the others look when it is there
        found = checkpoints.newest(self.writer.folder, self._report)
        teacher_version = 0
        if found is not None:
            self.student.restore(found.adapter, found.optimizer)
            self.teacher.load_state_dict(found.teacher)
            self.version, self.totals = found.version, BatchTotals(**found.totals)
            self.student.clip = found.thresholds["clip"]
            self.agreement_scale = found.thresholds["agreement_scale"]
            self._report(f"go on from step {self.version}")
            if self.config.teacher.kind != "frozen":
                teacher_version = self.version
        weights = self.student.weights()
        starts = self.workers.gather((self.version, adapter_checksum(weights)))
        if len(set(starts)) > 1:
            raise RuntimeError(
                f"learner workers start from different checkpoints {[v for v, _ in starts]}; "
                "output_dir must be on storage that all nodes share"
            )
        self.publisher.add(self.version, weights)
        self.publisher.add_head(teacher_version)
        return found

    def save(self) -> None:
        """Begin to write a checkpoint of this version, once the one before is written. The first
        checkpoint of a run is complete on return."""
        if self.workers.is_first:
            # Before the snapshot is taken: memory holds one at a time, however slow the disk is.
            self.writer.wait()
        self.workers.barrier()  # which waits longer than the gradients' group would
        optimizer = self.student.optimizer_state()
        if not self.workers.is_first:
            return
        # Nothing in here changes with the next step: the writer reads it while training goes on.
        checkpoint = checkpoints.Checkpoint(
            version=self.version,
            adapter=self.publisher.known[self.version],
            optimizer=optimizer,
            teacher=self.teacher.state_dict(),
            ledger=self.job.gate.state(self.incarnation),
            totals=dataclasses.asdict(self.totals),
            thresholds={"clip": self.student.clip, "agreement_scale": self.agreement_scale},
            incarnation=self.incarnation,
        )
        self.writer.submit(checkpoint)
        if self.version == 0:
            # Learners that fail before the next one start again from here.
            self.writer.wait()

    def advance(self) -> tuple[bool, dict[str, float]]:
        """The updated student becomes the next version, and the teacher follows it. Returns whether
        the teacher moved, and the teacher's metrics."""
        self.version += 1
        weights = self.student.weights()
        moved = self.teacher.after_step(self.version, weights)
        self.publisher.add(self.version, weights)
        if moved:
            self.publisher.add_head(self.version)
        return moved, self.teacher.metrics(weights)

    def move_thresholds(self, rows: pa.Table) -> dict[str, float]:
        """Take from a batch what it leaves to later ones: the quantile clip, and the agreement
        scale. Returns the clip that this batch was trained with."""
        self.agreement_scale = rows["agreement_scale"][0].as_py()
        return self.student.move_clip(self.workers.gather)

    def _report(self, what: str) -> None:
        if self.workers.is_first:
            self.job.watchdog.record("learners", what)


def await_opening(gate: GateClient) -> None:
    """Return when ``gate`` admits prompts."""
    while not gate.is_open():
        time.sleep(OPENING_S)
