"""The fleet: everything of a run that lives in Ray, created and ended together."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.data
import ray.train
from ray.data import Dataset
from ray.exceptions import RayActorError, RayError
from ray.train import TrainingFailedError

from actors.admission.gate import Gate
from actors.generator.group import Generators
from actors.generator.types import ReplicaReport, Sampling
from actors.learner.job import LearnerJob
from actors.learner.ray_train import TrainerThread
from actors.runtime.calls import START_TIMEOUT_S, ActorByName, ask, coordinator_actor
from actors.runtime.placement import scorer_options
from actors.runtime.resource_plan import COORDINATOR_CPUS, resource_plan
from actors.stream.agree import Agree
from actors.stream.dataset import fixed_stage
from actors.stream.generate import Generate
from actors.stream.score import Score
from actors.supervision.liveness import LivenessProbe
from actors.weights.store import PushStatus, WeightStore
from unisd_core.common.errors import UserError
from unisd_core.config.run import Config
from unisd_core.training.nonfinite_rows import BadRow, write_down

SPARE_SLOTS = 2
"""Slots of a stream per chunk that is needed, so that replaced prompts find one."""
SCORER_QUEUE = 4
"""Chunks given to a scorer on a GPU. More would wait at one scorer while another is idle. On CPU,
where one takes seconds, it is one: otherwise all chunks of a batch may wait at the same scorer."""
HALT_S = 10.0
"""Longest wait for the gate when everything ends."""
NO_RESTART = {"max_restarts": 0, "max_task_retries": 0}
"""A stage that keeps state ends with its stream: a restarted one would have forgotten rows that
the ledger counts as held. The learner then starts a new stream from its checkpoint."""


class Fleet(Generators):
    """Generator pool, weight store and, once the prompts are known, gate and stream."""

    scoring: type = Score
    learning = LearnerJob

    @property
    def scorer_queue(self) -> int:
        """Chunks given to a scorer at a time."""
        return SCORER_QUEUE if self.config.scorer.gpus else 1

    def __init__(self, config: Config, model_dir: Path) -> None:
        super().__init__(config, model_dir, resource_plan(config))
        self.store = coordinator_actor(WeightStore, "store").remote(ActorByName("pool"))
        self.gate: Any = None
        self.fit: TrainerThread
        self.uids: list[str] = []

    def __exit__(self, *error: Any) -> None:
        if self.gate is not None:
            with contextlib.suppress(RayError, TimeoutError):
                # Stages that wait at the gate would ask a dead one again, and Ray would say so.
                ask(self.gate.halt.remote(), "the gate", HALT_S)
        super().__exit__(*error)

    def _actors(self) -> list[Any]:
        mine = [actor for actor in (self.gate, self.store) if actor is not None]
        return [*mine, *super()._actors()]

    def stream(self, prompts: pa.Table, sampling: Sampling) -> Dataset:
        """Admit, sample, score, weigh: one block per batch, in order."""
        training = self.config.training
        self.uids = prompts["uid"].to_pylist()
        self.gate = coordinator_actor(Gate, "gate").remote(
            prompts.num_rows,
            training.batch_size,
            training.max_staleness,
            training.max_steps,
            self.config.seed,
            stall_timeout_s=self.config.stall_timeout_s,
            opened=False,
            # On CPU all batches that are sampled at the same time take as much longer, and the
            # learner would wait for all of them before its first step.
            first_alone=self.config.generator.gpus == 0,
        )
        chunks = training.max_steps * training.batch_size // self.config.rollout.chunk_size
        in_flight = (
            (training.max_staleness + 1) * training.batch_size // self.config.rollout.chunk_size
        )
        slots = [{"slot": number} for number in range(SPARE_SLOTS * chunks)]
        return (
            # Not from_arrow, whose tasks wait for ever where no node has a whole CPU free.
            ray.data.from_items(slots, override_num_blocks=len(slots))
            .map_batches(
                Generate,
                fn_constructor_args=(self.config, self.gate, self.pool, ray.put(prompts), sampling),
                num_cpus=COORDINATOR_CPUS,
                max_concurrency=in_flight + 1,
                **fixed_stage(1),
                **NO_RESTART,
            )
            .map_batches(
                self.scoring,
                fn_constructor_args=(self.config, str(self.model_dir), self.store, self.watch),
                **scorer_options(self.config.scorer),
                **fixed_stage(self.config.scorer.workers, self.scorer_queue),
            )
            .map_batches(
                Agree,
                fn_constructor_args=(self.config, self.gate, str(self.model_dir), self.watch),
                num_cpus=COORDINATOR_CPUS,
                allow_out_of_order_execution=False,
                **fixed_stage(1, in_flight),
                **NO_RESTART,
            )
        )

    def begin(self, stream: Dataset, run_path: Path) -> None:
        """Start learners and stages, which take long to load; none gets a prompt before
        :meth:`train`, and no version is published."""
        job = self.learning(
            self.config, self.model_dir, run_path, self.gate, self.store, self.watch
        )
        self.fit = TrainerThread(job, stream)
        self.fit.start()

    def train(self, asked: threading.Event) -> bool:
        """Consume the stream until training.max_steps; returns when every replica serves the last
        version. False: it was ``asked`` to stop before, and the learners saved where they were, if
        they could within training.stop_grace_s."""
        fit = self.fit
        ask(self.gate.open.remote(), "the gate")
        pulse = LivenessProbe(
            {"gate": self.gate, "weight store": self.store, "generator pool": self.pool,
             "watch": self.watch},
            self.config.generator.stall_s,
        )  # fmt: skip
        for _ in range(self.config.training.max_restarts + 1):
            while fit.is_alive() and not asked.is_set():
                fit.join(0.2)
                for name in pulse.look():
                    self.watch.note.remote(name, "did not answer; replaced")
            if asked.is_set():
                ask(self.gate.halt.remote(), "the gate")
                fit.join(self.config.training.stop_grace_s)
                return False
            if not isinstance(fit.error, RayActorError):
                break
            # Ray Train restarts workers; nobody restarts its controller.
            note = self.watch.note.remote("Ray Train", "lost its controller; begun again")
            ask(note, "the watch")
            fit = TrainerThread(fit.job, fit.stream)
            fit.start()
        if isinstance(fit.error, TrainingFailedError):
            # Ray Train passes errors on as text; what a user can mend was noted at the gate.
            failure = ask(self.gate.failure.remote(), "the gate")
            if failure:
                raise UserError(failure + self._lost_rows(fit.job.run_path)) from None
        if fit.error is not None:
            raise fit.error
        limit = START_TIMEOUT_S + self.config.generator.timeout_s
        ask(self.store.wait_pushed.remote(limit), "the weight store", 2 * limit)
        return True

    def _lost_rows(self, run_path: Path) -> str:
        """Write down the last rows that were lost; says where they are found."""
        lost = ask(self.gate.lost.remote(), "the gate")
        if not lost:
            return ""
        file = write_down(
            run_path, [BadRow(self.uids[row], **dataclasses.asdict(visit)) for row, visit in lost]
        )
        return f"; the last {len(lost)} of them are in {file}"

    def outcome(self, version: int) -> FleetReport:
        """State of the pushes and the replicas, once all replicas serve ``version``."""
        limit = START_TIMEOUT_S + 2 * self.config.generator.timeout_s
        return FleetReport(
            replicas=ask(self.pool.reports.remote(version), "the generator pool", limit),
            pushes=ask(self.store.status.remote(), "the weight store"),
        )


@dataclass(frozen=True)
class FleetReport:
    """What the actors say at the end of a run."""

    replicas: list[ReplicaReport]
    pushes: PushStatus
