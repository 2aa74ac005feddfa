"""Custom rows written to a file and read as a task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unisd_core.config.data import CustomConfig
from unisd_core.tasks.base import Task
from unisd_core.tasks.registry import load_task
from unisd_core.tasks.row import Row


def write_rows(path: Path, *rows: dict[str, Any]) -> str:
    """Write a JSONL or Parquet file, by its suffix."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    else:
        text = "".join(json.dumps(row) + "\n" for row in rows)
        path.write_text(text, encoding="utf-8")
    return str(path)


def custom_task(train: str | None, metric: str = "exact_match", **settings: Any) -> Task:
    section = CustomConfig.model_validate({"train": train, "metric": metric, **settings})
    return load_task("custom", None, 0, section)


def task_of(tmp_path: Path, metric: str, *rows: dict[str, Any]) -> tuple[Task, list[Row]]:
    """A task whose training rows are ``rows``, with their references checked; there are no test
    rows."""
    path = write_rows(tmp_path / "train.jsonl", *rows)
    task = custom_task(path, metric, test=str(tmp_path / "absent.jsonl"))
    task.check_references(task.rows("train"))
    return task, task.rows("train")
