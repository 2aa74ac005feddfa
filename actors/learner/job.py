"""What a learner worker is given and runs; in a file of its own, so that the processes that only
pass it on need no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unisd_core.common.fast_imports import importing
from unisd_core.config.method import Config


@dataclass(frozen=True)
class LearnerJob:
    """What a worker is given."""

    config: Config
    model_dir: Path
    run_path: Path
    gate: Any
    store: Any
    watch: Any

    def run(self) -> None:
        """What a worker does."""
        with importing():
            from actors.learner.loop import learn

        learn(self)


def run_learner(settings: dict[str, Any]) -> None:
    """Ray Train's per-worker function."""
    settings["job"].run()
