"""The table of metrics, and that who sets one sets one that it declares."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import ray

from actors.runtime import metrics as instruments
from actors.runtime.metrics import INSTRUMENTS, exported_names, record

ROOT = Path(__file__).parents[3]


class Noting:
    """In place of a Ray metric: what was done to it, and how."""

    def __init__(self, done: list[tuple[Any, ...]], name: str) -> None:
        self.done, self.name = done, name

    def __getattr__(self, update: str) -> Any:
        return lambda value, labels: self.done.append((self.name, update, value, labels))


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What reaches Ray, as if it were running."""
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(instruments, "_metric", lambda name: Noting(calls, name))
    return calls


def test_each_kind_is_updated_in_its_own_way(done: list[tuple[Any, ...]]) -> None:
    record("sampled_tokens", 3)
    record("rollouts", 0, state="filtered")
    record("push_seconds", 1.5)
    assert done == [
        ("sampled_tokens", "inc", 3.0, {}),
        ("rollouts", "set", 0.0, {"state": "filtered"}),
        ("push_seconds", "observe", 1.5, {}),
    ]


def test_a_counter_that_nothing_is_added_to_is_left_alone(done: list[tuple[Any, ...]]) -> None:
    record("sampled_tokens", 0)
    assert done == []


def test_without_ray_only_the_name_is_checked() -> None:
    assert not ray.is_initialized()
    record("incidents", 1)
    with pytest.raises(KeyError, match="incident"):
        record("incident", 1)


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_ray_takes_every_declaration(name: str) -> None:
    metric = instruments._metric(name)
    assert metric.info["name"] == f"unisd_{name}"
    assert metric.info["tag_keys"] == INSTRUMENTS[name].labels


def test_exported_names_follow_prometheus() -> None:
    names = exported_names()
    assert {"ray_unisd_incidents_total", "ray_unisd_replicas_ready"} <= names
    assert "ray_unisd_push_seconds_bucket" in names


def set_somewhere() -> dict[str, set[str]]:
    """Labels of every metric that the actors set, read from their source."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "actors").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "record":
                name = ast.literal_eval(node.args[0])
                found[name] = {str(keyword.arg) for keyword in node.keywords}
    return found


def test_every_metric_is_set_by_an_actor_with_its_labels() -> None:
    assert set_somewhere() == {name: set(declared.labels) for name, declared in INSTRUMENTS.items()}


def test_the_documented_table_is_the_declared_one() -> None:
    rows = re.findall(
        r"^\| `unisd_(\w+)` \| (\w+) \| (\w+) \| (.+) \|$",
        (ROOT / "docs" / "observability.md").read_text(),
        re.MULTILINE,
    )
    assert rows == [
        (name, declared.kind, declared.unit, declared.help)
        for name, declared in INSTRUMENTS.items()
    ]
