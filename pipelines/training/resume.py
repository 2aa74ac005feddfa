"""The start of a run: which checkpoint it goes on from, and the claim on its mirror."""

from __future__ import annotations

from actors.checkpoints.mirror import fetch_missing, mirror_of
from pipelines.command.console import say
from unisd_core.config.method import Config
from unisd_core.reporting.run_dir import RunDir


def recover(config: Config, run: RunDir) -> None:
    """Say which checkpoint the run goes on from and which are broken; the mirror's is fetched where
    the run's folder has none. Raises UserError where the mirror cannot be reached or belongs to
    another run, before anything expensive has started."""
    mirror = mirror_of(config)
    if mirror is not None:
        mirror.claim(config)
    step = fetch_missing(run.path / "checkpoints", mirror, note=say)
    if step:
        say(f"goes on from the checkpoint of step {step}")
