"""The driver's side of training: what ends it, how often it begins again, and what it then says."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, RayActorError
from ray.train import ControllerError

from actors.admission.gate import Gate
from actors.learner import group
from actors.learner.group import Learners
from actors.learner.job import LearnerJob
from actors.supervision.incidents import IncidentLog, RunFailure
from tests.support.direct_client import DirectClient
from unisd_core.common.errors import UserError
from unisd_core.config.run import Config


class Trainer(threading.Thread):
    """Ends at once, with the next of ``errors``."""

    errors: list[BaseException | None]
    started: int

    def __init__(self, job: LearnerJob, stream: Any, work: Any) -> None:
        super().__init__(daemon=True)
        self.stream, self.work = stream, work
        self.error: BaseException | None = None

    def run(self) -> None:
        Trainer.started += 1
        self.error = Trainer.errors.pop(0)


class Run:
    """Learners with a real gate and incident log, whose trainers end with ``errors``."""

    def __init__(self, folder: Path, restarts: int, *errors: BaseException | None) -> None:
        Trainer.errors, Trainer.started = [*errors], 0
        self.log = IncidentLog()
        watchdog: Any = DirectClient(self.log)
        self.gate = Gate(9, 4, 0, 3, 0, watchdog)
        gate: Any = DirectClient(self.gate)
        gate.handle = watchdog.handle = None
        self.waits = 0
        store: Any = SimpleNamespace(handle=None, wait_pushed=self)
        config = Config.model_validate({"training": {"max_restarts": restarts}})
        job = LearnerJob(config, folder, folder, gate, store, watchdog)
        pool: Any = SimpleNamespace(handle=None)
        prompts: Any = SimpleNamespace(desk=pool, check=lambda: None)
        self.learners = Learners(job, None, pool, prompts)  # type: ignore[arg-type]

    def within(self, limit_s: float) -> Any:
        return self._wait_pushed

    def _wait_pushed(self, limit_s: float) -> None:
        self.waits += 1

    def train(self, asked: bool = False) -> bool:
        event = threading.Event()
        if asked:
            event.set()
        return self.learners.train(event)

    def told(self) -> list[str]:
        return [one.what for one in DirectClient(self.log).drain()]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class NoProbe:
        def __init__(self, *_: Any) -> None: ...

        def look(self) -> list[str]:
            return []

    monkeypatch.setattr(group, "TrainerThread", Trainer)
    monkeypatch.setattr(group, "LivenessProbe", NoProbe)
    return lambda *arguments: Run(tmp_path, *arguments)


def failed() -> ControllerError:
    """What Ray Train raises when workers failed for good."""
    return ControllerError(RuntimeError("worker 0 failed"))


def test_a_lost_controller_begins_again_and_the_run_ends_well(start) -> None:
    run = start(2, RayActorError(), RayActorError(), None)
    assert run.train() and Trainer.started == 3 and run.waits == 1
    assert run.told() == ["lost its controller; begun again"] * 2


@pytest.mark.parametrize("restarts", [0, 2])
def test_controllers_that_are_lost_too_often_end_the_run_with_their_error(
    start, restarts: int
) -> None:
    run = start(restarts, *[ActorDiedError() for _ in range(restarts + 1)], None)
    with pytest.raises(ActorDiedError):
        run.train()
    assert Trainer.started == restarts + 1 and run.waits == 0


def test_the_reason_outlives_a_watchdog_that_is_restarted(start) -> None:
    run = start(2, failed())
    DirectClient(run.gate).abort("3 batches in a row have bad numbers")
    DirectClient(run.log).clear_failure()
    with pytest.raises(UserError, match="3 batches in a row have bad numbers"):
        run.train()


def test_the_reason_outlives_a_gate_that_is_restarted(start) -> None:
    run = start(2, failed())
    DirectClient(run.log).fail(RunFailure("3 batches in a row have bad numbers"))

    class Forgot:
        def __getattr__(self, name: str) -> Any:
            raise ActorDiedError()

    run.learners.job.gate.failure = lambda: Forgot().failure
    with pytest.raises(UserError, match="3 batches in a row have bad numbers"):
        run.train()


def test_other_failures_are_raised_as_they_are(start) -> None:
    with pytest.raises(ControllerError, match="worker 0 failed"):
        start(2, failed()).train()


def test_learners_that_fail_while_they_stop_are_told_of(start) -> None:
    run = start(2, OSError("no space left"))
    run.learners.thread.join()
    assert not run.train(asked=True)
    assert run.told() == ["failed while they stopped: OSError: no space left"]
