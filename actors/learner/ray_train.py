"""Ray Train: runs the workers of the learner, and starts all of them again when one fails."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Literal

from ray.data import Dataset
from ray.train import DataConfig
from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.train.v2.torch.torch_trainer import TorchTrainer

from actors.learner.job import LearnerJob
from actors.runtime.placement import computing_env
from unisd_core.common.fast_imports import importing


def run_learner(settings: dict[str, Any]) -> None:
    """Ray Train's per-worker function."""
    with importing():
        from actors.learner.loop import learn

    learn(settings["job"])


class TrainerThread(threading.Thread):
    """Trains from ``stream``, with ``work`` as the function of each worker. In the main thread Ray
    Train would take Ctrl-C for itself.

    ``error`` is what ended the training, if it failed.
    """

    def __init__(
        self,
        job: LearnerJob,
        stream: Dataset,
        work: Callable[[dict[str, Any]], None] = run_learner,
    ) -> None:
        super().__init__(daemon=True)
        self.work = work
        self.job, self.stream = job, stream
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._trainer().fit()
        except BaseException as error:
            self.error = error

    def _trainer(self) -> DataParallelTrainer:
        config, settings = self.job.config, self.job.config.learner
        resources = {"CPU": settings.cpus} | ({"GPU": settings.gpus} if settings.gpus else {})
        # Several learners: the first reads whole batches and deals them out. Splitting the stream
        # would cost a stage that reserves a CPU, and leave the pairing of shares to Ray Data.
        whole: Literal["all"] | list[str] = "all" if settings.workers == 1 else []
        # A single learner needs no process group, whose store would listen on every interface.
        trainer_type = TorchTrainer if settings.workers > 1 else DataParallelTrainer
        options = self.stream.context.execution_options
        return trainer_type(
            self.work,
            train_loop_config={"job": self.job},
            datasets={"train": self.stream},
            dataset_config=DataConfig(datasets_to_split=whole, execution_options=options),
            scaling_config=ScalingConfig(
                num_workers=settings.workers,
                use_gpu=settings.gpus > 0,
                placement_strategy=settings.placement.upper(),
                resources_per_worker=resources | settings.custom_resources,
            ),
            run_config=RunConfig(  # type: ignore[arg-type]  # annotated with Train v1's class
                name="train",
                storage_path=str(self.job.run_path / "ray"),
                failure_config=FailureConfig(max_failures=config.training.max_restarts),
                worker_runtime_env=computing_env(settings.gpus),
            ),
        )
