"""Columns of custom files: two of one name, and names that are nearly those that are read."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unisd_core.tasks.custom.rows import custom_task, write_rows
from unisd_core.common.errors import UserError
from unisd_core.config.run import Config
from unisd_core.synthesis.sources import open_source

ROW = {"prompt": "Why?", "reference": "So."}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Answer", "answer"), ("answers", "answer"), (" hint", "hint"), ("hints", "hint"),
        ("UID", "uid"), ("catgory", "category"), ("choice", "choices"),
        ("answer_idx", "answer_index"), ("difficulty", None), ("text", None), ("id", None),
        ("source", None),
    ],
)  # fmt: skip
def test_a_column_of_nearly_the_right_name_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, meant: str | None
) -> None:
    path = write_rows(tmp_path / "rows.jsonl", ROW, {"prompt": "x", "reference": "y", name: "z"})
    assert len(custom_task(path, test=path).rows("train")) == 2
    said = [f"{path}: column {name!r} is not read; did you mean {meant!r}?"] if meant else []
    assert caplog.messages == said


def test_a_column_beside_the_right_one_is_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_rows(tmp_path / "rows.jsonl", {**ROW, "answer": "So.", "answers": ["So."]})
    custom_task(path, test=path).rows("train")
    assert caplog.messages == []


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    columns = [pa.array(["Why?"]), pa.array(["So."]), pa.array(["Not."])]
    pq.write_table(pa.table(columns, ["prompt", "reference", "reference"]), path)
    with pytest.raises(UserError, match=r"rows\.parquet: has two columns 'reference'; rename one"):
        custom_task(str(path)).rows("train")
    with pytest.raises(UserError, match=r"rows\.parquet: has two columns 'reference'"):
        list(open_source(str(path), Config()).stream())
