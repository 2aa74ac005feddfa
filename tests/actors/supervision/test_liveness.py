"""Coordinating actors without a sign of life are replaced; those that answer are left alone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
import ray

from actors.supervision import liveness as pulse_module
from actors.supervision.liveness import LivenessProbe
from tests.support.coordinator import Coordinator


@pytest.fixture
def coordinator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(pulse_module, "INTERVAL_S", 0.1)
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield ray.remote(Coordinator).options(num_cpus=0, max_restarts=-1, max_task_retries=-1).remote()
    ray.shutdown()


def looked(pulse: LivenessProbe, seconds: float) -> list[str]:
    """Whom ``pulse`` replaced within some seconds, at most one."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if lost := pulse.look():
            return lost
        time.sleep(0.05)
    return []


def test_one_that_hangs_is_replaced_and_one_that_answers_is_not(coordinator: Any) -> None:
    pid = ray.get(coordinator.pid.remote())
    pulse = LivenessProbe({"gate": coordinator}, limit_s=3.0)
    assert looked(pulse, 4.0) == []
    os.kill(pid, signal.SIGSTOP)
    assert looked(pulse, 30.0) == ["gate"]
    assert ray.get(coordinator.pid.remote(), timeout=120) != pid
