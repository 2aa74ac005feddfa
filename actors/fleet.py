"""The fleet: everything of a run that lives in Ray, created and ended together."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.data import Dataset, ExecutionOptions
from ray.train import DataConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from actors.engine import Sampling
from actors.gate import Gate
from actors.learner import LearnerJob, learn
from actors.plan import COORDINATOR_CPUS, check_plan, resource_plan
from actors.pool import GeneratorPool
from actors.stages import Agree, Generate, Score
from actors.weights import WeightStore
from unisd_core.config import Config

SPARE_SLOTS = 2
"""Slots of a stream per chunk that is needed, so that replaced prompts find one."""
SYNC_TIMEOUT_S = 600.0
"""Longest wait for the pool to reach the last version."""


def connect() -> None:
    """Join the cluster named by RAY_ADDRESS, as in a Ray job, or start one on loopback."""
    for name in ("ray", "ray.data", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if not os.environ.get("RAY_ADDRESS"):
        options |= {"address": "local", "include_dashboard": False}
    ray.init(**options)


class Fleet:
    """Generator pool, weight store and, once the prompts are known, gate and stream.

    A context manager: leaving it ends every actor.
    """

    def __init__(self, config: Config, model_dir: Path) -> None:
        self.config, self.model_dir = config, model_dir
        check_plan(resource_plan(config), ray.cluster_resources())
        self.pool = _light(GeneratorPool).remote(config, str(model_dir))
        self.store = _light(WeightStore).remote(self.pool)
        self.gate: Any = None
        # Engines take long to load; the caller prepares its prompts in the meantime.
        self._starting = self.pool.start.remote()

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        ray.get(self.pool.stop.remote())
        for actor in (self.gate, self.store, self.pool):
            if actor is not None:
                ray.kill(actor)

    def wait_ready(self) -> None:
        """Return when every replica answers and reports its version."""
        ray.get(self._starting)

    def stream(self, prompts: pa.Table, sampling: Sampling) -> Dataset:
        """Admit, sample, score, weigh: one block per learner worker and batch, in order."""
        training = self.config.training
        self.gate = _light(Gate).remote(
            prompts.num_rows, training.batch, training.staleness, training.steps, self.config.seed
        )
        chunks = training.steps * training.batch // self.config.rollout.chunk
        in_flight = (training.staleness + 1) * training.batch // self.config.rollout.chunk
        scored = (
            ray.data.from_arrow([pa.table({"slot": [n]}) for n in range(SPARE_SLOTS * chunks)])
            .map_batches(
                Generate,
                fn_constructor_args=(self.config, self.gate, self.pool, prompts, sampling),
                num_cpus=COORDINATOR_CPUS,
                max_concurrency=in_flight + 1,
                **_stage(1),
            )
            .map_batches(
                Score,
                fn_constructor_args=(self.config, str(self.model_dir), self.store),
                num_cpus=self.config.scorer.cpus,
                num_gpus=self.config.scorer.gpus,
                **_stage(self.config.scorer.workers),
            )
            .map_batches(
                Agree,
                fn_constructor_args=(self.config, self.gate),
                num_cpus=COORDINATOR_CPUS,
                **_stage(1),
            )
        )
        workers = self.config.learner.workers
        if workers == 1:
            return scored
        return scored.repartition(target_num_rows_per_block=training.batch // workers)

    def train(self, stream: Dataset, run_path: Path) -> None:
        """Consume the stream until training.steps; returns when every replica serves the last
        version."""
        settings = self.config.learner
        job = LearnerJob(self.config, self.model_dir, run_path, self.gate, self.store)
        resources = {"CPU": settings.cpus} | ({"GPU": settings.gpus} if settings.gpus else {})
        options = ExecutionOptions(preserve_order=True)
        TorchTrainer(
            _learn,
            train_loop_config={"job": job},
            datasets={"train": stream},
            dataset_config=DataConfig(execution_options=options),
            scaling_config=ScalingConfig(
                num_workers=settings.workers,
                use_gpu=settings.gpus > 0,
                resources_per_worker=resources,
            ),
            run_config=RunConfig(
                name="train",
                storage_path=str(run_path / "ray"),
                failure_config=FailureConfig(max_failures=self.config.training.max_restarts),
            ),
        ).fit()
        ray.get(self.store.wait_synced.remote(SYNC_TIMEOUT_S))


def _learn(settings: dict[str, Any]) -> None:
    learn(settings["job"])


def _light(cls: type) -> Any:
    """An actor that only passes messages."""
    return ray.remote(cls).options(num_cpus=0, max_concurrency=1000)


def _stage(actors: int) -> dict[str, Any]:
    """A stage of a fixed number of actors that takes each chunk whole."""
    return {
        "batch_size": None,
        "batch_format": "pyarrow",
        "compute": ray.data.ActorPoolStrategy(size=actors),
    }
