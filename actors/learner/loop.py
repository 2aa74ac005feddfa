"""Loop of the learner: one optimizer step for each batch of the stream.

Every Ray Train worker runs :func:`learn`. All of them hold the same weights; the first one reads
the stream, closes the accounts of the rows, publishes new versions, and writes metrics and
checkpoints.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import ray.train

from actors.admission.gate import Losses
from actors.admission.ledger import Outcome
from actors.learner.batch_reader import BatchReader
from actors.learner.engine_gap import engine_gap
from actors.learner.job import LearnerJob
from actors.learner.state import LearnerState, await_opening
from actors.learner.step_record import StepRecord
from actors.learner.worker_group import WorkerGroup
from unisd_core.common.columns import rows_where
from unisd_core.common.errors import UserError
from unisd_core.common.process import use_threads
from unisd_core.common.visits import LostRow, visits_of
from unisd_core.objective.metrics import finalise_metrics
from unisd_core.reporting.run_dir import RunDir
from unisd_core.training.batch_stats import BatchTotals
from unisd_core.training.nonfinite_rows import BadBatches, write_down
from unisd_core.training.update import update_without_bad_rows

TOO_OLD = "older than the limit at the learner"
"""Why rows are stale that the gate let pass."""


def learn(job: LearnerJob) -> None:
    """Ray Train's function for each worker: resume or start, then one step for each batch until
    training.max_steps, or until the gate ends the run earlier."""
    context = ray.train.get_context()
    # The others wait for the first one longer than it may wait for a batch, so that it tells why.
    limit_s = 3 * job.config.stall_timeout_s
    workers = WorkerGroup(context.get_world_rank(), context.get_world_size(), limit_s)
    learner = Learner(job, workers)
    learner.begin()
    shard = ray.train.get_dataset_shard("train")
    while learner.version < learner.last_step:
        # A stream ends early only when its slots are used up; the next iteration starts a new one.
        for table in learner.batches(shard):
            learner.step(table)
            if learner.version >= learner.last_step:
                break
        learner.update_last_step()
    learner.finish()
    ray.train.report({"version": learner.version})


class Learner:
    """One worker's side of the training loop."""

    def __init__(self, job: LearnerJob, workers: WorkerGroup) -> None:
        self.job, self.config, self.workers = job, job.config, workers
        # At staleness 0 the other stages wait while the learner works.
        stages = 2 if self.config.training.max_staleness else 1
        use_threads(self.config.learner.threads, stages * workers.size)
        self.state = LearnerState(job, workers)
        self.bad_batches = BadBatches(self.config.training.max_bad_batches, job.run_path)
        self.run_dir = RunDir(job.run_path, self.config.outputs)
        self.last_step = self.config.training.max_steps
        self.waiting_since = time.perf_counter()

    @property
    def version(self) -> int:
        """Steps that have been taken."""
        return self.state.version

    def begin(self) -> None:
        """Go on from the newest checkpoint, or from the start."""
        self.last_step = self.state.resume(self.run_dir)

    def batches(self, shard: Any) -> Iterator[pa.Table]:
        """This worker's share of each batch of the stream ``shard``."""
        reader = self._reader(shard) if self.workers.is_first else None
        await_opening(self.job.gate)
        self.waiting_since = time.perf_counter()
        while (share := self.workers.share(reader.next() if reader else None)) is not None:
            yield share

    def _reader(self, shard: Any) -> BatchReader:
        # The size is given because Ray Data cuts large blocks in two.
        size = self.config.training.batch_size
        batches = shard.iter_batches(batch_size=size, batch_format="pyarrow", prefetch_batches=0)
        reader = BatchReader(iter(batches), self._wants_more, 2 * self.config.stall_timeout_s)
        reader.begin()  # the stream's actors load meanwhile
        return reader

    def _wants_more(self) -> bool:
        return self.version < self.job.gate.last_step(self.state.incarnation)

    def step(self, table: pa.Table) -> None:
        """Train on one batch: take it, update, close its accounts, publish, record.

        Raises UserError when too many batches in a row have bad numbers.
        """
        record, state = StepRecord(self.waiting_since), self.state
        rows = self._take(table)
        if rows is None:
            return
        done = update_without_bad_rows(state.student, rows, self.version, self.workers.gather)
        self._count_bad(done.bad)
        losses = {row.visit: row.reason for row in done.bad}
        if done.sums is None:
            self._close(losses, Outcome.FAILED)
            return
        record.metrics |= finalise_metrics(done.sums) | state.student.last
        record.count(done.rows, state)
        record.metrics |= state.move_thresholds(done.rows)
        if "engine_learner_logprob_gap" not in record.metrics:
            record.metrics |= engine_gap(done.rows, state)
        teacher_moved, teacher_metrics = state.advance()
        record.metrics |= teacher_metrics
        if self.workers.is_first:
            # The gate moves first: a checkpoint or a version that the ledger does not know must
            # not exist.
            scale = state.agreement_scale
            self.last_step = self.job.gate.consume(done.visits, losses, scale, state.incarnation)
            pushes = state.publisher.publish(self.version, state.incarnation, teacher_moved)
            record.published(state.publisher.published_bytes, pushes)
        self.last_step = self.workers.from_first(self.last_step)
        record.write(self.run_dir, done.rows, state)
        if self.version % self.config.training.save_steps == 0:
            state.save()
        self.waiting_since = time.perf_counter()

    def _take(self, table: pa.Table) -> pa.Table | None:
        """The rows of ``table`` within the staleness limit; None, for every worker, when one of
        them has no such row. Raises RuntimeError for a batch of another size."""
        age = self.version - table["version_first"].to_numpy()
        keep = age <= self.config.training.max_staleness
        fresh, stale = rows_where(table, keep), rows_where(table, ~keep)
        parts = self.workers.gather((visits_of(fresh), visits_of(stale)))
        size = sum(len(visits) + len(late) for visits, late in parts)
        if size != self.config.training.batch_size:
            raise RuntimeError(
                f"the stream gave {size} rows for a batch of {self.config.training.batch_size}"
            )
        # Workers step together or not at all.
        together = all(visits for visits, _ in parts)
        lost = [visit for _, late in parts for visit in late]
        if not together:
            lost = [visit for visits, _ in parts for visit in visits] + lost
        self._close(dict.fromkeys(lost, TOO_OLD), Outcome.STALE)
        return fresh if together else None

    def _close(self, losses: Losses, outcome: Outcome) -> None:
        if losses and self.workers.is_first:
            self.job.gate.close(losses, outcome)

    def _count_bad(self, bad: list[LostRow]) -> None:
        """Account a batch that lost rows to bad numbers. Past the limit the run ends with a
        UserError, on every worker."""
        if bad:
            lost = BatchTotals(bad_rows=len(bad), bad_batches=1)
            self.state.totals = BatchTotals.together([self.state.totals, lost])
            if self.workers.is_first:
                write_down(self.job.run_path, bad)
        problem = self.bad_batches.count(bad)
        if problem is None:
            return
        if self.workers.is_first:
            self.job.gate.abort(problem, self.state.incarnation)
        # The first worker that fails ends the others; the reason has to be known before.
        self.workers.barrier()
        raise UserError(problem)

    def update_last_step(self) -> None:
        """Learn whether the run is to end earlier than was known."""
        if self.workers.is_first:
            self.last_step = self.job.gate.last_step(self.state.incarnation)
        self.last_step = self.workers.from_first(self.last_step)

    def finish(self) -> None:
        """Write a checkpoint of the last version, which is complete on return, and close the run
        folder."""
        if self.version % self.config.training.save_steps:
            self.state.save()
        self.run_dir.close()
        self.state.writer.wait()
