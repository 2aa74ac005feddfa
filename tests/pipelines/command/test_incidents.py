"""Incidents appear on the screen and in the run's folder, also those of the very end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import ray

from actors.supervision.watchdog import Watchdog, WatchdogClient
from pipelines.command.incidents import FILE, IncidentFollower


@pytest.fixture(scope="module")
def cluster() -> Any:
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def watchdog(cluster: None) -> WatchdogClient:
    return WatchdogClient(ray.remote(Watchdog).options(num_cpus=0).remote())


def test_incidents_are_printed_and_kept_in_the_folder(
    watchdog: WatchdogClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    with IncidentFollower(watchdog, folder):
        watchdog.record("scorer", "stuck for 10 s; replaced")
        watchdog.record("scorer", "back")
    lines = [json.loads(line) for line in (folder / FILE).read_text().splitlines()]
    assert [(line["who"], line["what"]) for line in lines] == [
        ("scorer", "stuck for 10 s; replaced"),
        ("scorer", "back"),
    ]
    assert lines[0]["unix_time"] > 0
    assert "scorer: stuck for 10 s; replaced" in capsys.readouterr().out


def test_a_watchdog_that_is_lost_at_the_end_fails_no_run(
    watchdog: WatchdogClient, tmp_path: Path
) -> None:
    with IncidentFollower(watchdog, tmp_path):
        ray.kill(watchdog.handle)
    assert not (tmp_path / FILE).exists()
