"""Learners: the Ray Train side of a run, from the start of its workers to the last version pushed.

Ray Train restarts workers that fail; nobody restarts its controller, so that this does. The
actors that coordinate the run are watched here too, since they must answer while it trains.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.data import Dataset
from ray.exceptions import RayActorError, RayError
from ray.train import TrainingFailedError

from actors.admission.prompts import PromptServer
from actors.generator.pool import PoolClient
from actors.learner.job import LearnerJob
from actors.learner.ray_train import TrainerThread, run_learner
from actors.runtime.calls import START_TIMEOUT_S, remote_reason
from actors.supervision.incidents import RunFailure
from actors.supervision.liveness import LivenessProbe
from unisd_core.common.errors import UserError
from unisd_core.training.nonfinite_rows import write_down


class Learners:
    """Workers that train from ``rollouts``; they load at once and get no prompt before
    :meth:`train`. ``pool`` serves what they publish, ``prompts`` are made meanwhile, and
    ``work`` is what each worker does."""

    def __init__(
        self,
        job: LearnerJob,
        rollouts: Dataset,
        pool: PoolClient,
        prompts: PromptServer,
        work: Callable[[dict[str, Any]], None] = run_learner,
    ) -> None:
        self.job, self.pool, self.prompts = job, pool, prompts
        self.config = job.config
        self.thread = TrainerThread(job, rollouts, work)
        self.thread.start()

    def train(self, asked: threading.Event) -> bool:
        """Consume the stream until training.max_steps; returns when every replica serves the last
        version. False: it was ``asked`` to stop before, and the learners saved where they were, if
        they could within training.stop_grace_s. Raises UserError for a row that cannot be used."""
        job, watchdog = self.job, self.job.watchdog
        job.gate.open()
        probe = LivenessProbe(
            {"gate": job.gate.handle, "weight store": job.store.handle,
             "generator pool": self.pool.handle, "prompt desk": self.prompts.desk.handle,
             "watchdog": watchdog.handle},
            self.config.generator.stall_s,
        )  # fmt: skip
        for restarts_left in range(self.config.training.max_restarts, -1, -1):
            while self.thread.is_alive() and not asked.is_set():
                self.prompts.check()
                self.thread.join(0.2)
                for name in probe.look():
                    watchdog.record.tell(name, "did not answer; replaced")
            if asked.is_set():
                job.gate.stop_now()
                self.thread.join(self.config.training.stop_grace_s)
                if self.thread.error is not None:
                    failure = remote_reason(self.thread.error)
                    watchdog.record("learners", f"failed while they stopped: {failure}")
                return False
            if not (restarts_left and isinstance(self.thread.error, RayActorError)):
                break
            watchdog.record("Ray Train", "lost its controller; begun again")
            self.thread = TrainerThread(job, self.thread.stream, self.thread.work)
            self.thread.start()
        self._raise_failure()
        limit = START_TIMEOUT_S + self.config.generator.timeout_s
        job.store.wait_pushed.within(2 * limit)(limit)
        return True

    def _raise_failure(self) -> None:
        error = self.thread.error
        if isinstance(error, TrainingFailedError):
            # Ray Train passes errors on as text; the gate knows what a user can mend.
            failure = self._failure()
            if failure:
                raise UserError(described(failure, self.job.run_path)) from None
        if error is not None:
            raise error

    def _failure(self) -> RunFailure | None:
        try:
            return self.job.gate.failure()
        except (RayError, TimeoutError):  # it was lost too, and has told the watchdog before
            return self.job.watchdog.failure()


def described(failure: RunFailure, run_path: Path) -> str:
    """The reason, and where the rows are found that were lost before; writes those down."""
    if not failure.lost:
        return failure.reason
    file = write_down(run_path, failure.lost)
    return f"{failure.reason}; the last {len(failure.lost)} of them are in {file}"
