"""Fleet: everything of a run that lives in Ray, created and ended together.

A run asks it for the pieces of its stream in the order of the method: :meth:`Fleet.admission`, the
arguments of the three stages, and :meth:`Fleet.start_learners`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.data import Dataset
from ray.exceptions import RayError

from actors.admission.gate import Gate, GateClient
from actors.admission.ledger import visited_rows
from actors.admission.prompts import PromptDesk, PromptDeskClient, Prompts, PromptServer
from actors.generator.group import GeneratorGroup
from actors.generator.pool import PoolClient
from actors.generator.replica import GeneratorReplica
from actors.generator.types import ReplicaReport, Sampling
from actors.learner.group import Learners
from actors.learner.job import LearnerJob
from actors.learner.ray_train import run_learner
from actors.runtime.calls import START_TIMEOUT_S, coordinator_actor
from actors.runtime.placement import scorer_options
from actors.runtime.resource_plan import COORDINATOR_CPUS, resource_plan
from actors.stream.dataset import fixed_stage, stream_of
from actors.supervision.watchdog import WatchdogClient
from actors.weights.store import PushStatus, WeightStore, WeightStoreClient
from unisd_core.config.run import Config

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


@dataclass(frozen=True)
class FleetReport:
    """What the actors say at the end of a run."""

    replicas: list[ReplicaReport]
    pushes: PushStatus


class Fleet(GeneratorGroup):
    """Generator pool, weight store and, once the prompts are known, gate, stages and learners."""

    def __init__(
        self, config: Config, model_dir: Path, replica_class: type = GeneratorReplica
    ) -> None:
        super().__init__(config, model_dir, resource_plan(config), replica_class)
        store = coordinator_actor(WeightStore, "store")
        self.store = WeightStoreClient(store.remote(PoolClient("pool"), WatchdogClient("watchdog")))
        self._gate: GateClient | None = None
        self._prompts: PromptServer | None = None
        self._uids: list[str] = []
        self._sampling: Sampling | None = None

    def __exit__(self, *error: Any) -> None:
        if self._gate is not None:
            with contextlib.suppress(RayError, TimeoutError):
                # Stages that wait at the gate would ask a dead one again, and Ray would say so.
                self._gate.stop_now.within(HALT_S)()
        if self._prompts is not None:
            self._prompts.stop()
        super().__exit__(*error)

    def _actors(self) -> list[Any]:
        desk = self._prompts.desk if self._prompts is not None else None
        mine = (self._gate, desk, self.store)
        return [*(actor.handle for actor in mine if actor is not None), *super()._actors()]

    @property
    def gate(self) -> GateClient:
        """The gate, which :meth:`admission` starts."""
        assert self._gate is not None, "admission() comes first"
        return self._gate

    @property
    def prompts(self) -> PromptServer:
        """Makes the prompts, once :meth:`admission` has started it."""
        assert self._prompts is not None, "admission() comes first"
        return self._prompts

    def admission(self, prompts: Prompts, sampling: Sampling, step: int = 0) -> Dataset:
        """The source of the stream: empty slots, each for a chunk of rollouts. The gate decides
        which of ``prompts`` fill a slot, and when; they are made ahead of the visits from ``step``
        on."""
        training = self.config.training
        self._uids, self._sampling = prompts.uids, sampling
        gate = coordinator_actor(Gate, "gate").remote(
            prompts.num_rows,
            training.batch_size,
            training.max_staleness,
            training.max_steps,
            self.config.seed,
            WatchdogClient("watchdog"),
            stall_timeout_s=self.config.stall_timeout_s,
            opened=False,
            # On CPU all batches that are sampled at the same time take as much longer, and the
            # learner would wait for all of them before its first step.
            first_alone=self.config.generator.gpus == 0,
        )
        self._gate = GateClient(gate)
        desk = PromptDeskClient(coordinator_actor(PromptDesk, "prompts").remote())
        ahead = visited_rows(self.config, prompts.num_rows, step)
        self._prompts = PromptServer(prompts, ahead, desk)
        self._prompts.start()
        chunks = training.max_steps * training.batch_size // self.config.rollout.chunk_size
        return stream_of([{"slot": number} for number in range(SPARE_SLOTS * chunks)])

    @property
    def generate(self) -> dict[str, Any]:
        """How the stream runs the stage ``Generate``: one actor that keeps all replicas busy."""
        uids = ray.put(self._uids)
        arguments = (self.config, self.gate, self.pool, self.prompts.desk, uids, self._sampling)
        # As many chunks as may run at once: Ray starts those that wait at an actor in any order,
        # and the gate would wait for ever for a slot that stands behind later ones. Twice as many
        # as the gate admits, so that the next slots wait at the gate and not with Ray Data.
        slots = 2 * (self._chunks_in_flight + 1)
        return {
            "fn_constructor_args": arguments,
            "num_cpus": COORDINATOR_CPUS,
            "max_concurrency": slots,
            **fixed_stage(1, slots),
            **NO_RESTART,
        }

    @property
    def score(self) -> dict[str, Any]:
        """How the stream runs the stage ``Score``: scorer.workers actors."""
        settings = self.config.scorer
        return {
            "fn_constructor_args": (self.config, str(self.model_dir), self.store, self.watchdog),
            **scorer_options(settings),
            **fixed_stage(settings.workers, SCORER_QUEUE if settings.gpus else 1),
        }

    @property
    def agree(self) -> dict[str, Any]:
        """How the stream runs the stage ``Agree``: one actor that sees every row, in order."""
        return {
            "fn_constructor_args": (self.config, self.gate, str(self.model_dir), self.watchdog),
            "num_cpus": COORDINATOR_CPUS,
            "allow_out_of_order_execution": False,
            **fixed_stage(1, self._chunks_in_flight),
            **NO_RESTART,
        }

    @property
    def _chunks_in_flight(self) -> int:
        training = self.config.training
        rollouts = (training.max_staleness + 1) * training.batch_size
        return rollouts // self.config.rollout.chunk_size

    def start_learners(
        self,
        rollouts: Dataset,
        run_path: Path,
        work: Callable[[dict[str, Any]], None] = run_learner,
    ) -> Learners:
        """Start learners and stages, which take long to load; none gets a prompt before
        :meth:`Learners.train`, and no version is published."""
        job = LearnerJob(
            self.config, self.model_dir, run_path, self.gate, self.store, self.watchdog
        )
        return Learners(job, rollouts, self.pool, self.prompts, work)

    def report(self, version: int) -> FleetReport:
        """State of the pushes and the replicas, once all replicas serve ``version``."""
        limit = START_TIMEOUT_S + 2 * self.config.generator.timeout_s
        return FleetReport(
            replicas=self.pool.reports.within(limit)(version),
            pushes=self.store.status(),
        )
