"""Resume: which checkpoint a run starts from, and how it is left when a signal stops it."""

from __future__ import annotations

from actors.checkpoints import folder as checkpoints
from actors.checkpoints.mirror import fetch_missing, mirror_of
from actors.learner.group import Learners
from pipelines.command.console import report
from pipelines.command.signals import Interrupted, StopRequest
from unisd_core.config.run import Config
from unisd_core.reporting.run_dir import RunDir


def recover(config: Config, run: RunDir) -> int | None:
    """Say which checkpoint the run goes on from, and which are broken, and return its step; where
    the run's folder has none, the mirror's is fetched. Raises UserError where the mirror cannot be
    reached or belongs to another run, before anything expensive has started."""
    mirror = mirror_of(config)
    if mirror is not None:
        mirror.claim(config)
    step = fetch_missing(run.path / "checkpoints", mirror, note=report)
    if step:
        report(f"goes on from the checkpoint of step {step}")
    return step


def train_until_stopped(learners: Learners, run: RunDir) -> None:
    """Let the learners train until training.max_steps.

    Raises Interrupted when a signal ended it earlier; the step it has come to is saved then.
    """
    stop = StopRequest()
    with stop.awaited():
        if learners.train(stop.asked):
            return
    step = checkpoints.newest_step(run.path / "checkpoints")
    last = learners.config.training.max_steps
    raise Interrupted(
        stop.number,
        f"stopped by {stop.number.name}: step {step} of {last} is saved in "
        f"{run.path}; the same command goes on from there",
    )
