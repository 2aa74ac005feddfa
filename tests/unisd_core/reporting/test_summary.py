from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from unisd_core.reporting.resources import Resources, StageUse, account
from unisd_core.reporting.summary import (
    LedgerCounts,
    Mechanisms,
    Seconds,
    Staleness,
    Summary,
    accuracy_change,
    package_versions,
    render_table,
)

BASE_B = np.arange(200) % 4 == 0
FINAL_B = np.arange(200) % 2 == 0


def summary(**changes: Any) -> Summary:
    values: dict[str, Any] = {
        "accuracy": {"minitools": accuracy_change(BASE_B, FINAL_B, 500, 0)},
        "steps": 16,
        "versions_published": 16,
        "replica_versions": (16,),
        "staleness": Staleness(limit=2, max=1, mean=0.5),
        "ledger": LedgerCounts(
            admitted=140, consumed=128, filtered=5, stale=3, failed=1, in_flight=3
        ),
        "seconds": Seconds(total=1234.5, generate=1, score=2, learn=3, push=4, evaluate=5),
        "tokens_per_second": {"generate": 1234.4, "learn": 99.0},
        "mechanisms": Mechanisms(ema_distance=0.125),
        "resources": account(1234.5, 1, 50_000, {"learn": StageUse(seconds=3, tokens=50_000)}),
        "config_sha256": "0" * 64,
        "versions": {"python": "3"},
    }
    return Summary(**{**values, **changes})


def test_the_format_of_summary_json_is_stable() -> None:
    found = json.loads(json.dumps(summary().to_json()))
    assert {
        key: sorted(value) if isinstance(value, dict) else type(value).__name__
        for key, value in found.items()
    } == {
        "accuracy": ["minitools"],
        "steps": "int",
        "versions_published": "int",
        "replica_versions": "list",
        "staleness": ["limit", "max", "mean"],
        "ledger": ["admitted", "consumed", "failed", "filtered", "in_flight", "stale"],
        "seconds": ["evaluate", "generate", "learn", "push", "score", "total"],
        "tokens_per_second": ["generate", "learn"],
        "mechanisms": [
            "agreement_spread",
            "clipped_fraction",
            "contrastive_active_fraction",
            "ema_distance",
            "feature_distance",
        ],
        "resources": sorted(Resources.model_fields),
        "config_sha256": "str",
        "versions": ["python"],
    }
    assert sorted(found["accuracy"]["minitools"]) == ["base", "ci95", "difference", "final", "rows"]
    assert Summary.model_validate(found) == summary()


def test_accuracy_change_compares_the_same_rows() -> None:
    change = accuracy_change(BASE_B, FINAL_B, 2000, 0)
    assert (change.base, change.final, change.difference, change.rows) == (0.25, 0.5, 0.25, 200)
    assert 0.15 < change.ci95[0] < 0.25 < change.ci95[1] < 0.35


def test_the_table_shows_points_in_percent_and_where_every_prompt_ended() -> None:
    change = accuracy_change(BASE_B, FINAL_B, 500, 0)
    shown = render_table(summary())
    low, high = change.ci95
    row = next(line for line in shown.splitlines() if line.startswith("minitools"))
    assert row.split() == [
        "minitools", "200", "25.0", "50.0", "+25.0", f"[{100 * low:+.1f},", f"{100 * high:+.1f}]",
    ]  # fmt: skip
    assert "140 admitted = 128 consumed + 5 filtered + 3 stale + 1 failed + 3 in flight" in shown
    assert "mean 0.50, largest 1 of at most 2 versions" in shown
    assert any(line.split() == ["generate", "1,234"] for line in shown.splitlines())
    assert "mechanisms ema_distance 0.125\n" in shown


def test_a_run_without_trained_rows_or_mechanisms_can_be_shown() -> None:
    shown = render_table(
        summary(staleness=Staleness(limit=2, max=0, mean=None), mechanisms=Mechanisms())
    )
    assert "staleness  mean -," in shown
    assert "mechanisms" not in shown


def test_columns_stand_under_their_headings() -> None:
    block = render_table(summary()).split("\n\n")[0].splitlines()
    assert len({len(line) for line in block}) == 1


def test_unknown_entries_are_refused() -> None:
    with pytest.raises(ValidationError):
        summary(extra=1)


def test_a_mechanism_that_is_not_a_number_becomes_null_on_disk() -> None:
    found = summary(mechanisms=Mechanisms(ema_distance=math.nan)).to_json()
    assert found["mechanisms"]["ema_distance"] is None


def test_package_versions_name_what_is_installed() -> None:
    versions = package_versions()
    assert versions["numpy"] == np.__version__
    assert "vllm" in versions
