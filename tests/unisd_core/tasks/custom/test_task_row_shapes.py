"""Rows as people write them, in JSONL, in Parquet and in memory: read alike, or refused alike."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unisd_core.tasks.custom.rows import custom_task
from tests.unisd_core.tasks.custom.shapes import COLUMNS, TYPED, WRITTEN, Shape
from unisd_core.common.errors import UserError
from unisd_core.tasks.base import Task
from unisd_core.tasks.row import Row

FIRST = {"prompt": "Say A or 1.", "reference": "A 1"}
"""Stands before the row in question, which is so the second of its file."""
BEFORE = {
    "exact_match": FIRST,
    "numeric": {**FIRST, "reference": "1"},
    "choice": {**FIRST, "reference": "A"},
}
ROW_FIELDS = {field.name for field in dataclasses.fields(Row)}
IN_MEMORY = {
    name: shape
    for name, shape in TYPED.items()
    if "prompt" in shape.fields and shape.fields.keys() <= ROW_FIELDS and name != "no options"
}
MIXED = ("messages, number", "text parts", "image part", "part that is no mapping")
"""Fields of several types, for which a column has none."""
IN_PARQUET = {name: shape for name, shape in TYPED.items() if name not in MIXED}


def check(rows: Any, said: dict[str, Any] | str, place: str) -> None:
    """Whether the second of the rows that ``rows()`` gives is ``said``, or it is refused so."""
    if isinstance(said, str):
        with pytest.raises(UserError) as caught:
            rows()
        message = str(caught.value)
        assert place in message and said in message and "\n" not in message
        return
    row = rows()[1]
    fields = {**vars(row), "uid": row.uid.removeprefix("custom/")}
    assert {key: fields[key] for key in said} == said


def rows_of(path: Path, metric: str) -> list[Row]:
    task = custom_task(str(path), metric, test=str(path))
    rows = task.rows("train")
    task.check_references(rows)
    return rows


@pytest.mark.parametrize("shape", TYPED.values(), ids=TYPED)
def test_a_row_of_a_jsonl_file(tmp_path: Path, shape: Shape) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{json.dumps(BEFORE[shape.metric])}\n{json.dumps(shape.fields)}\n")
    check(lambda: rows_of(path, shape.metric), shape.said, f"{path}:2: ")


@pytest.mark.parametrize("shape", WRITTEN.values(), ids=WRITTEN)
def test_a_line_of_a_jsonl_file(tmp_path: Path, shape: Shape) -> None:
    path = tmp_path / "rows.jsonl"
    text = f"{json.dumps(BEFORE[shape.metric])}\n{shape.json}\n"
    path.write_bytes(text.encode())
    check(lambda: rows_of(path, shape.metric), shape.said, f"{path}:2: ")


@pytest.mark.parametrize("shape", IN_PARQUET.values(), ids=IN_PARQUET)
def test_a_row_of_a_parquet_file(tmp_path: Path, shape: Shape) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist([shape.fields]), path)
    check(lambda: [FIRST, *rows_of(path, shape.metric)], shape.said, f"{path}:1: ")


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
def test_a_column_of_a_parquet_file(tmp_path: Path, column: tuple[str, Any, Any, Any]) -> None:
    metric, kind, value, said = column
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"prompt": ["p"], "reference": pa.array([value], kind)}), path)
    check(lambda: [FIRST, *rows_of(path, metric)], said, f"{path}:1: ")


@pytest.mark.parametrize("shape", IN_MEMORY.values(), ids=IN_MEMORY)
def test_a_row_in_memory(shape: Shape) -> None:
    def rows() -> list[Row]:
        given = [Row(**BEFORE[shape.metric]), Row(**{"reference": None, **shape.fields})]
        return Task.from_rows(given, shape.metric).rows("train")

    check(rows, shape.said, "rows[1]: ")
