"""The training part of a run, which may be told to stop."""

from __future__ import annotations

from ray.data import Dataset

from actors import checkpoint as checkpoints
from actors.fleet import Fleet
from pipelines.stopping import Interrupted, StopRequest
from unisd_core.run_dir import RunDir


def train(fleet: Fleet, stream: Dataset, run: RunDir) -> None:
    """Consume the stream until training.steps.

    Raises Interrupted when a signal ended it earlier; the step it has come to is saved then.
    """
    stop = StopRequest()
    with stop.awaited():
        if fleet.train(stream, run.path, stop.asked):
            return
    step = checkpoints.newest_step(run.path / "checkpoints")
    raise Interrupted(
        stop.number,
        f"stopped by {stop.number.name}: step {step} of {fleet.config.training.steps} is saved in "
        f"{run.path}; the same command goes on from there",
    )
