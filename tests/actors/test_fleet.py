"""Stages of a run as they are given to Ray Data."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors import fleet as module
from actors.fleet import Fleet
from unisd_core.config.run import Config


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """A fleet whose prompts are known, without a cluster."""
    monkeypatch.setattr(module.ray, "put", lambda value: value)
    made = Fleet.__new__(Fleet)
    made.config = Config.model_validate(
        {"training": {"batch_size": 8, "max_staleness": 2}, "rollout": {"chunk_size": 4}}
    )
    made.model_dir = Path("model")
    for name in ("_gate", "pool", "store", "watchdog"):
        setattr(made, name, SimpleNamespace())
    made._prompts = SimpleNamespace(desk=SimpleNamespace())  # type: ignore[assignment]
    made._uids, made._sampling = ["a"], None
    return made


def calls_at_once(stage: dict[str, Any]) -> tuple[int, int]:
    """Calls that Ray Data gives to the actor of a stage, and those of them that it runs."""
    return stage["compute"].max_tasks_in_flight_per_actor, stage["max_concurrency"]


def test_no_slot_waits_at_the_generating_actor_behind_later_ones(fleet: Fleet) -> None:
    given, running = calls_at_once(fleet.generate)
    assert given == running


def test_all_chunks_that_the_gate_admits_can_be_generated_at_once(fleet: Fleet) -> None:
    _, running = calls_at_once(fleet.generate)
    assert running > (2 + 1) * 8 // 4
