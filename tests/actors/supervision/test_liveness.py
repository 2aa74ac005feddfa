"""Coordinating actors without a sign of life are replaced; those that answer are left alone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
import ray

from actors.supervision.liveness import LivenessProbe
from tests.support.coordinator import Coordinator


@pytest.fixture
def coordinator() -> Iterator[Any]:
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield ray.remote(Coordinator).options(num_cpus=0, max_restarts=-1, max_task_retries=-1).remote()
    ray.shutdown()


def killed(probe: LivenessProbe, seconds: float) -> list[str]:
    """Whom ``probe`` killed within some seconds, at most one."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if names := probe.look():
            return names
        time.sleep(0.05)
    return []


def test_one_that_hangs_is_replaced_and_one_that_answers_is_not(coordinator: Any) -> None:
    pid = ray.get(coordinator.pid.remote())
    probe = LivenessProbe({"gate": coordinator}, limit_s=3.0, interval_s=0.1)
    assert killed(probe, 4.0) == []
    os.kill(pid, signal.SIGSTOP)
    assert killed(probe, 30.0) == ["gate"]
    assert ray.get(coordinator.pid.remote(), timeout=120) != pid
