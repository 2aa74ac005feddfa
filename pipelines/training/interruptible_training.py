"""The training part of a run, which may be told to stop."""

from __future__ import annotations

from actors.checkpoints import folder as checkpoints
from actors.fleet import Fleet
from pipelines.command.signals import Interrupted, StopRequest
from unisd_core.reporting.run_dir import RunDir


def train(fleet: Fleet, run: RunDir) -> None:
    """Let the fleet, which has begun, train until training.steps.

    Raises Interrupted when a signal ended it earlier; the step it has come to is saved then.
    """
    stop = StopRequest()
    with stop.awaited():
        if fleet.train(stop.asked):
            return
    step = checkpoints.newest_step(run.path / "checkpoints")
    raise Interrupted(
        stop.number,
        f"stopped by {stop.number.name}: step {step} of {fleet.config.training.steps} is saved in "
        f"{run.path}; the same command goes on from there",
    )
