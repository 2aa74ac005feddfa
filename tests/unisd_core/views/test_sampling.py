"""Rollouts of rows in memory, without an engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from unisd_core.common.errors import UserError
from unisd_core.common.schema import TRAJECTORY
from unisd_core.config.run import Config
from unisd_core.models.model_files import load_model
from unisd_core.tasks.base import Task
from unisd_core.tasks.row import Row
from unisd_core.views.sampling import sample

ROWS = [Row(f"What is {n} + {n}?", str(2 * n)) for n in range(11, 17)]


def config(model: Path, **changes) -> Config:
    tree = {
        "model": {"name_or_path": str(model)},
        "rollout": {"max_completion_length": 5, "chunk_size": 4},
        "views": {"num_auxiliary": 2},
        **changes,
    }
    return Config.model_validate(tree)


def test_each_row_has_a_rollout_with_its_views(tiny_model: Path) -> None:
    settings = config(tiny_model)
    rollouts = sample(load_model(settings), ROWS, settings)
    assert rollouts.schema.equals(TRAJECTORY)
    rows = rollouts.to_pylist()
    assert [row["uid"] for row in rows] == [row.uid for row in ROWS]
    assert [row["position"] for row in rows] == list(range(6))
    for row in rows:
        assert 1 <= len(row["completion_ids"]) == len(row["logprobs"]) <= 5
        assert len(row["view_ids"]) == 4, "teacher, two auxiliary views, and a wrong reference"
        assert (row["source"], row["version_first"]) == ("student", 0)
    again = sample(load_model(settings), ROWS, settings)
    assert again["completion_ids"].to_pylist() == rollouts["completion_ids"].to_pylist()


def test_a_task_brings_its_own_rows_and_limit(tiny_model: Path) -> None:
    task = Task.from_rows(ROWS, "numeric", max_completion_length=3)
    settings = config(tiny_model, rollout={"gold_share": 0.5, "chunk_size": 4})
    rollouts = sample(load_model(settings), task, settings)
    assert max(map(len, rollouts["completion_ids"].to_pylist())) == 3
    assert set(rollouts["source"].to_pylist()) == {"student", "gold"}


def test_rows_that_are_too_few_are_one_line(tiny_model: Path) -> None:
    settings = config(tiny_model)
    with pytest.raises(UserError, match=r"lower views\.num_auxiliary or use more rows"):
        sample(load_model(settings), ROWS[:2], settings)
