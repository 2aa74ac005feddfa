"""The learner: the function every Ray Train worker runs.

One optimizer step per batch of the stream. Rank 0 closes the accounts of the rows, publishes the
new version, writes metrics and checkpoints; all ranks hold the same weights.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import ray.train
import torch.distributed as dist

from actors.admission.ledger import Outcome
from actors.checkpoints import folder as checkpoints
from actors.checkpoints.writer import CheckpointWriter
from actors.learner.batch_reader import BatchReader
from actors.learner.job import LearnerJob
from actors.runtime.calls import START_TIMEOUT_S
from actors.runtime.metrics import record
from actors.weights.publisher import PolicyPublisher
from unisd_core.common.errors import UserError
from unisd_core.common.process import peak_memory, use_threads
from unisd_core.common.visits import LostRow, visits_of
from unisd_core.models.lora import adapter_checksum
from unisd_core.objective.metrics import finalise_metrics
from unisd_core.reporting.run_dir import RunDir
from unisd_core.reporting.spans import Span, joined, stage_spans
from unisd_core.training.batch_stats import BatchTotals, batch_totals
from unisd_core.training.nonfinite_rows import BadBatches, write_down
from unisd_core.training.student import Student
from unisd_core.training.teacher import TeacherWeights
from unisd_core.training.update import update_without_bad_rows

STATES = ("teacher_hidden", "teacher_features", "teacher_topk_ids", "teacher_topk_logprobs")
"""Columns that only the update reads."""

NOT_KEPT = (*STATES, "view_ids")
"""Columns that are left out of the trajectories on disk: large, and derivable."""


OPENING_S = 0.5
"""Seconds between two looks at whether the gate is open."""

TOO_OLD = "older than the limit at the learner"
"""Why rows are stale that the gate let pass."""

SMALLEST_CLIP = 1e-6
"""Nats; a quantile below this would clip every token."""


def learn(job: LearnerJob) -> None:
    """Ray Train's per-worker loop: resume or start, then one step per batch until
    training.max_steps, or until the gate ends the run earlier."""
    context = ray.train.get_context()
    learner = Learner(job, context.get_world_rank(), context.get_world_size())
    learner.begin()
    shard = ray.train.get_dataset_shard("train")
    while learner.version < learner.last_step:
        # A stream ends early only when its slots are used up; the next iteration starts a new one.
        for table in learner.batches(shard):
            learner.step(table)
            if learner.version >= learner.last_step:
                break
        learner.ask_end()
    learner.finish()
    ray.train.report({"version": learner.version})


class Learner:
    """One worker's side of the training loop."""

    def __init__(self, job: LearnerJob, rank: int, world: int) -> None:
        self.job, self.rank, self.world = job, rank, world
        self.config = job.config
        # At staleness 0 the other stages wait while the learner works.
        stages = 2 if self.config.training.max_staleness else 1
        use_threads(self.config.learner.threads, stages * world)
        self.student = Student(self.config, job.model_dir, world)
        self.teacher = TeacherWeights(self.config.teacher, self.student.weights())
        self.agreement_scale: float | None = None
        self.version = 0
        self.last_step = self.config.training.max_steps
        self.versions = PolicyPublisher(self.config, self.student, self.teacher, job.store)
        self.totals = BatchTotals()
        self.bad = BadBatches(self.config.training.max_bad_batches, job.run_path)
        self.run_dir = RunDir(job.run_path, self.config.outputs)
        self.writer = CheckpointWriter(self.config, job.run_path)
        self.waiting_since = time.perf_counter()
        # Messages between workers stay on the CPU, whatever the gradients use.
        self.control = None
        if world > 1:
            # Others wait for rank 0 longer than it may wait for a batch, so that it tells why.
            limit = timedelta(seconds=3 * self.config.stall_timeout_s)
            self.control = dist.new_group(backend="gloo", timeout=limit)

    def begin(self) -> None:
        """Load the newest checkpoint, or write the first one; make gate and generators agree with
        it. Raises RuntimeError when the workers do not find the same one."""
        found = self._newest_checkpoint()
        if found is not None:
            self.student.restore(found.adapter, found.optimizer)
            self.teacher.load_state_dict(found.teacher)
            self.version, self.totals = found.version, BatchTotals(**found.totals)
            self.student.clip = found.thresholds["clip"]
            self.agreement_scale = found.thresholds["agreement_scale"]
            self._note(f"go on from step {self.version}")
        weights = self.student.weights()
        starts = self._gather((self.version, adapter_checksum(weights)))
        if len(set(starts)) > 1:
            raise RuntimeError(
                f"learner workers start from different checkpoints {[v for v, _ in starts]}; "
                "output_dir must be on storage that all nodes share"
            )
        self.versions.add(self.version, weights)
        self.versions.add_head(0 if found is None or self.frozen else self.version)
        if self.rank == 0:
            self.run_dir.resume_from(self.version)
        if self.rank == 0:
            ledger = found.ledger if found else None
            self.last_step = self.job.gate.restore(ledger, self.agreement_scale)
        if found is None:
            self._save()
        elif self.rank == 0:
            self._await_opening()
            self.versions.publish(self.version, teacher_moved=not self.frozen, anew=True)
            # Replicas may still serve versions that were rolled back.
            limit = START_TIMEOUT_S + self.config.generator.timeout_s
            self.job.store.wait_pushed.within(2 * limit)(limit)
        self.last_step = self._gather(self.last_step)[0]

    def batches(self, shard: Any) -> Iterator[pa.Table]:
        """This worker's share of each global batch; rank 0 reads the stream and deals it out."""
        # The size is given because Ray Data cuts large blocks in two.
        size = self.config.training.batch_size
        reader = None
        if self.rank == 0:
            batches = shard.iter_batches(
                batch_size=size, batch_format="pyarrow", prefetch_batches=0
            )
            reader = BatchReader(iter(batches), self._wants_more, 2 * self.config.stall_timeout_s)
            reader.begin()  # the stream's actors load meanwhile
        self._await_opening()
        self.waiting_since = time.perf_counter()
        share: list[pa.Table | None] = [None]
        while True:
            whole = reader.next() if reader else None
            if self.world == 1:
                if whole is None:
                    return
                yield whole
                continue
            dist.scatter_object_list(share, self._dealt(whole), src=0, group=self.control)
            if share[0] is None:
                return
            yield share[0]

    def _await_opening(self) -> None:
        while not self.job.gate.is_open():
            time.sleep(OPENING_S)

    def _wants_more(self) -> bool:
        return self.version < self.job.gate.last_step()

    def ask_end(self) -> None:
        """Learn whether the run is to end earlier than was known."""
        if self.rank == 0:
            self.last_step = self.job.gate.last_step()
        self.last_step = self._gather(self.last_step)[0]

    def _dealt(self, whole: pa.Table | None) -> list[pa.Table | None] | None:
        """Equal shares of a batch, by rank; None for each when the stream has ended."""
        if self.rank != 0:
            return None
        if whole is None:
            return [None] * self.world
        size = whole.num_rows // self.world
        # take copies; a slice would send the whole batch's buffers to everybody.
        return [
            whole.take(list(range(rank * size, (rank + 1) * size))) for rank in range(self.world)
        ]

    def step(self, table: pa.Table) -> None:
        """Train on one batch: check ages, update, account, publish, log. Raises UserError when too
        many batches in a row have bad numbers."""
        began = time.perf_counter()
        waited = began - self.waiting_since
        fresh, stale = self._split_by_age(table)
        parts = self._gather((visits_of(fresh), visits_of(stale)))
        visits = [visit for kept, _ in parts for visit in kept]
        late = [visit for _, old in parts for visit in old]
        if len(visits) + len(late) != self.config.training.batch_size:
            raise RuntimeError(
                f"the stream gave {len(visits) + len(late)} rows for a batch of "
                f"{self.config.training.batch_size}"
            )
        if not all(kept for kept, _ in parts):
            # Workers step together or not at all.
            visits, late = [], visits + late
        if late and self.rank == 0:
            self.job.gate.close(dict.fromkeys(late, TOO_OLD), Outcome.STALE)
        if not visits:
            return
        done = update_without_bad_rows(self.student, fresh, self.version, self._gather)
        self._count_bad(done.bad)
        failed = {row.visit: row.reason for row in done.bad}
        if done.sums is None:
            if self.rank == 0:
                self.job.gate.close(failed, Outcome.FAILED)
            return
        fresh, visits = done.rows, done.visits
        shares = self._gather((batch_totals(fresh, self.version), stage_spans(fresh)))
        batch = BatchTotals.together(totals for totals, _ in shares)
        metrics = finalise_metrics(done.sums) | self.student.last | batch.metrics()
        metrics |= self._move_thresholds(fresh)
        # Shards are whole only while all workers read; replicas leave it to the first.
        if "engine_learner_logprob_gap" not in metrics and (self.rank == 0 or self.student.sharded):
            metrics |= self._probe_gap(fresh)
        weights = self.student.weights()
        teacher_moved = self.teacher.after_step(self.version + 1, weights)
        metrics |= self.teacher.metrics(weights)
        pushes: list[Span] = []
        self.version += 1
        self.versions.add(self.version, weights)
        if teacher_moved:
            self.versions.add_head(self.version)
        if self.rank == 0:
            # The gate moves first: a checkpoint or a version that the ledger does not know must
            # not exist.
            self.last_step = self.job.gate.consume(visits, failed)
            pushes = self.versions.publish(self.version, teacher_moved)
            metrics |= {"push_bytes": self.versions.published_bytes}
            if pushes:
                metrics["push_seconds"] = pushes[-1][1] - pushes[-1][0]
        self.last_step = self._gather(self.last_step)[0]
        self.run_dir.write_trajectories(self.version, fresh.drop_columns(list(NOT_KEPT)), self.rank)
        learned = time.perf_counter() - began
        batch.seconds, batch.learn_memory = learned, peak_memory(self.student.device)
        self.totals = BatchTotals.together([self.totals, batch])
        metrics |= {"seconds_wait": waited, "seconds_learn": learned}
        now = time.time()
        metrics["spans"] = joined(
            [spans for _, spans in shares], learn=[(now - learned, now)], push=pushes
        )
        metrics["memory_learn"] = batch.learn_memory
        metrics |= {"bad_rows": self.totals.bad_rows, "bad_batches": self.totals.bad_batches}
        if self.rank == 0:
            self.run_dir.log(self.version, metrics)
            record("trained_tokens", batch.completion_tokens)
            record("staleness_mean", metrics["staleness_mean"])
            record("staleness_max", metrics["staleness_max"])
            record("learner_idle_seconds", waited)
            record("learner_busy_seconds", learned)
        if self.version % self.config.training.save_steps == 0:
            self._save()
        self.waiting_since = time.perf_counter()

    def _count_bad(self, bad: list[LostRow]) -> None:
        """Account a batch that lost rows to bad numbers; past the limit the run ends with a
        UserError, on every worker."""
        if bad:
            lost = BatchTotals(bad_rows=len(bad), bad_batches=1)
            self.totals = BatchTotals.together([self.totals, lost])
            if self.rank == 0:
                write_down(self.job.run_path, bad)
        problem = self.bad.count(bad)
        if problem is None:
            return
        if self.rank == 0:
            self.job.gate.abort(problem)
        # The first worker that fails ends the others; the gate has to know the reason before.
        self._gather(None)
        raise UserError(problem)

    def finish(self) -> None:
        """The last version gets a checkpoint, which is complete on return; the run directory is
        closed."""
        if self.version % self.config.training.save_steps:
            self._save()
        self.run_dir.close()
        self.writer.wait()

    def _split_by_age(self, table: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Rows within the staleness limit, and the others."""
        age = self.version - table["version_first"].to_numpy()
        keep = age <= self.config.training.max_staleness
        return table.filter(pa.array(keep)), table.filter(pa.array(~keep))

    def _probe_gap(self, rows: pa.Table) -> dict[str, float]:
        """Engine against learner on the youngest row of one version, under the weights of that
        version.

        Rows older than the current weights cannot be compared in the training pass itself.
        """
        rows = rows.drop_columns(list(STATES))
        if self.student.sharded:
            rows = self._gather(rows)[0]
        comparable = [
            row
            for row in rows.to_pylist()
            if row["source"] != "gold"  # nobody sampled it
            and row["version_first"] == row["version_last"]
            and row["version_first"] in self.versions.known
        ]
        if not comparable:
            return {}
        youngest = max(comparable, key=lambda row: (row["version_first"], -row["position"]))
        adapter = self.versions.known[youngest["version_first"]]
        return {"engine_learner_logprob_gap": self.student.logprob_gap(youngest, adapter)}

    def _move_thresholds(self, rows: pa.Table) -> dict[str, float]:
        """What this batch leaves to later ones: the quantile clip, and the agreement scale."""
        self.agreement_scale = rows["agreement_scale"][0].as_py()
        settings = self.config.objective.divergence
        if settings.clip_quantile is None or not settings.weight:
            return {}
        used = self.student.clip
        every_token = np.concatenate(self._gather(self.student.divergences))
        self.student.clip = max(
            float(np.quantile(every_token, settings.clip_quantile)), SMALLEST_CLIP
        )
        return {} if used is None else {"clip_threshold": used}

    @property
    def frozen(self) -> bool:
        """Whether the teacher is the base model throughout."""
        return self.config.teacher.kind == "frozen"

    def _note(self, what: str) -> None:
        if self.rank == 0:
            self.job.watch.record("learners", what)

    def _gather(self, value: Any) -> list[Any]:
        """``value`` of every worker, by rank."""
        if self.world == 1:
            return [value]
        parts: list[Any] = [None] * self.world
        dist.all_gather_object(parts, value, group=self.control)
        return parts

    def _newest_checkpoint(self) -> checkpoints.Checkpoint | None:
        """The newest checkpoint; the mirror's where the run's folder has none."""
        if self.rank == 0:
            self.writer.fetch_missing()
        self._gather(None)  # the others look when it is there
        return checkpoints.newest(self.writer.folder, self._note)

    def _save(self) -> None:
        if self.rank == 0:
            # Before the snapshot is taken: memory holds one at a time, however slow the disk is.
            self.writer.wait()
        self._gather(None)  # the group of this has more patience than that of the gradients
        optimizer = self.student.optimizer_state()
        if self.rank:
            return
        # Nothing in here changes with the next step: the writer reads it while training goes on.
        checkpoint = checkpoints.Checkpoint(
            version=self.version,
            adapter=self.versions.known[self.version],
            optimizer=optimizer,
            teacher=self.teacher.state_dict(),
            ledger=self.job.gate.state(),
            totals=dataclasses.asdict(self.totals),
            thresholds={"clip": self.student.clip, "agreement_scale": self.agreement_scale},
        )
        self.writer.submit(checkpoint)
        if self.version == 0:
            # A learner group that fails before the next one starts again from here.
            self.writer.wait()
