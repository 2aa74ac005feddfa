"""Costs and mechanisms of a run, from the numbers it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from actors.generator.types import ReplicaReport
from pipelines.training.result import mechanism_means, run_resources
from unisd_core.config.run import Config
from unisd_core.training.batch_stats import BatchTotals

REPLICAS = [
    ReplicaReport(0, 3, "", tokens=100, busy_seconds=2.0, peak_memory=5_000),
    ReplicaReport(1, 3, "", tokens=50, busy_seconds=1.0, peak_memory=7_000),
]
TOTALS = BatchTotals(
    rows=4, tokens=2_000, scored_tokens=6_000, seconds=8.0, score_seconds=9.0, learn_memory=6_000
)


def test_a_run_on_cpu_is_charged_for_its_cores() -> None:
    found = run_resources(Config(), REPLICAS, TOTALS, 3600.0, cores=2)
    assert (found.devices, found.power.device_watts) == (1, 24.0)
    assert found.estimated_kwh == pytest.approx(0.024 * 0.7 * 1.2)
    assert found.tokens == 2_000 and found.stages["generate"].tokens == 150
    assert found.peak_memory_bytes == 7_000


def test_a_run_on_gpus_is_charged_for_those_it_reserved_whatever_the_cores() -> None:
    stages = {"generator": {"gpus": 1, "replicas": 2}, "scorer": {"gpus": 0.5}}
    config = Config.model_validate(stages)
    found = run_resources(config, REPLICAS, TOTALS, 3600.0, cores=96)
    assert (found.devices, found.power.device_watts) == (3, 300.0)
    assert found.estimated_kwh == pytest.approx(3 * 0.3 * 0.7 * 1.2)


def test_mechanisms_are_means_over_the_steps_that_can_be_read(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.jsonl"
    lines = [{"feature_distance": 1.0, "ema_distance": 5.0}, {"feature_distance": None}]
    lines += [{"feature_distance": 2.0}]
    metrics.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"feature_dist')
    config = Config.model_validate({"teacher": {"kind": "frozen"}})
    found = mechanism_means(metrics, config)
    assert found.feature_distance == 1.5
    assert found.ema_distance is None and found.contrastive_active_fraction is None
    assert mechanism_means(tmp_path / "none.jsonl", config).feature_distance is None
