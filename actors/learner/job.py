"""Learner job: the data that a learner worker is given. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from actors.admission.gate import GateClient
from actors.supervision.watchdog import WatchdogClient
from actors.weights.store import WeightStoreClient
from unisd_core.config.run import Config


@dataclass(frozen=True)
class LearnerJob:
    """Settings, folders, and the actors that a worker calls."""

    config: Config
    model_dir: Path
    run_path: Path
    gate: GateClient
    store: WeightStoreClient
    watchdog: WatchdogClient
