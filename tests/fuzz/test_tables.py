"""Parquet and archives: custom rows, the answers of a baseline, GPQA."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.fuzz.damage import MISPLACED, damaged_bytes, misplace
from tests.fuzz.harness import accepted, fuzz
from tests.fuzz.test_rows import custom
from unisd_core.evaluation.outcomes import Outcomes, read_outcomes, write_outcomes
from unisd_core.tasks.registry import load_task
from unisd_core.tasks.row import Row

_BIG = 2**62
COLUMNS: dict[str, pa.Array] = {
    "text": pa.array(["a", "b"]),
    "null": pa.array([None, None]),
    "text with null": pa.array(["a", None]),
    "large_string": pa.array(["a", "b"], pa.large_string()),
    "dictionary": pa.array(["a", "b"]).dictionary_encode(),
    "dictionary with null": pa.array(["a", None]).dictionary_encode(),
    "bytes": pa.array([b"a", b"\xff"]),
    "integers": pa.array([1, -1]),
    "huge": pa.array([_BIG, -_BIG]),
    "unsigned": pa.array([2**64 - 1, 0], pa.uint64()),
    "floats": pa.array([float("nan"), float("inf")]),
    "truth": pa.array([True, False]),
    "truth with null": pa.array([True, None]),
    "list": pa.array([["a", "b"], ["c"]]),
    "list with null": pa.array([["a", None], None]),
    "nested": pa.array([{"a": {"b": [1]}}, {"a": None}]),
    "map": pa.array([[("a", 1.0)], []], pa.map_(pa.string(), pa.float64())),
    "time": pa.array([_BIG, -_BIG], pa.timestamp("us")),
    "zoned time": pa.array([0, 1], pa.timestamp("ns", "Mars/Olympus")),
    "date": pa.array([2**31 - 1, -(2**31)], pa.date32()),
    "duration": pa.array([_BIG, 0], pa.duration("s")),
    "decimal": pa.array(["1.5", "2"]).cast(pa.decimal128(38, 10)),
    "no UTF-8": pa.Array.from_buffers(
        pa.string(),
        2,
        [None, pa.py_buffer(np.array([0, 1, 2], np.int32)), pa.py_buffer(b"\xff\xc3")],
    ),
}
"""Two values each of every type a column may have."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


def _bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


@st.composite
def tables(draw: DrawFn, names: tuple[str, ...]) -> pa.Table:
    """Most of the named columns, each of any type; the table may be empty or have a name twice."""
    chosen = [name for name in names if draw(st.integers(0, 7))]
    chosen += draw(st.lists(st.sampled_from([*names, "", "x"]), max_size=1))
    kinds = [draw(st.sampled_from(["text", *COLUMNS])) for _ in chosen]
    rows = draw(st.sampled_from([2, 2, 2, 0]))
    return pa.Table.from_arrays([COLUMNS[kind].slice(0, rows) for kind in kinds], chosen)


NAMES = ("prompt", "reference", "answer", "uid", "hint", "choices")
OWN_BYTES = _bytes(pa.table({"prompt": ["a", "b"], "reference": ["c", "d"]}))


@fuzz(30)
@given(tables(NAMES), st.sampled_from(["exact_match", "choice", "numeric", "json_call"]))
@example(pa.table({"prompt": ["a", "b"], "reference": COLUMNS["no UTF-8"]}), "exact_match")
@example(pa.table({"prompt": ["a", "b"], "x": COLUMNS["time"]}), "exact_match")
def test_custom_rows_of_other_types(folder: Path, table: pa.Table, metric: str) -> None:
    path = folder / "types.parquet"
    pq.write_table(table, path)
    accepted("tables: custom rows, other types", [path], lambda: custom(path, metric))


@fuzz(40)
@given(damaged_bytes(OWN_BYTES))
def test_damaged_custom_rows(folder: Path, data: bytes) -> None:
    path = folder / "damaged.parquet"
    path.write_bytes(data)
    accepted("tables: custom rows, damaged", [path], lambda: custom(path, "exact_match"))


OUTCOMES = Outcomes(
    uids=["a", "b"],
    categories=["", "x"],
    completions=[["yes", "no"], ["", "\u2028"]],
    finished_BN=np.ones((2, 2), bool),
    extracted_BN=np.ones((2, 2), bool),
    correct_BN=np.eye(2, dtype=bool),
    parts=[[{"p": 1.0}, {}], [{}, {"p": 0.5}]],
)


def check_outcomes(path: Path) -> Outcomes:
    """What was read has the same rows in all of its parts."""
    found = read_outcomes(path)
    assert found.samples >= 1 and found.uids
    assert found.correct_BN.shape == (len(found.uids), found.samples)
    assert all(isinstance(text, str) for row in found.completions for text in row)
    found.mean_parts()
    return found


@fuzz(40)
@given(st.data())
def test_damaged_answers(folder: Path, data: st.DataObject) -> None:
    valid, path = folder / "valid.parquet", folder / "answers.parquet"
    write_outcomes(OUTCOMES, valid)
    path.write_bytes(data.draw(damaged_bytes(valid.read_bytes())))
    accepted("tables: answers, damaged", [path], lambda: check_outcomes(path))


ANSWERS = ("uid", "category", "sample", "completion", "finished", "extracted", "correct", "parts")


@fuzz(40)
@given(st.data(), st.lists(st.sampled_from(ANSWERS), max_size=2))
def test_answers_of_other_types(folder: Path, data: st.DataObject, changed: list[str]) -> None:
    path = folder / "other.parquet"
    write_outcomes(OUTCOMES, path)
    table = pq.read_table(path).slice(0, 2)
    for name in changed:
        column = data.draw(st.sampled_from([*COLUMNS, "left out"]))
        place = table.schema.get_field_index(name)
        if place < 0:
            continue
        table = table.remove_column(place)
        if column != "left out":
            table = table.add_column(place, name, COLUMNS[column])
    pq.write_table(table, path)
    accepted("tables: answers, other types", [path], lambda: check_outcomes(path))


@pytest.mark.parametrize("sample", [-5, -1, 2**31 - 1])
def test_answers_with_odd_numbers(folder: Path, sample: int) -> None:
    path = folder / "numbered.parquet"
    write_outcomes(OUTCOMES, path)
    table = pq.read_table(path)
    column = pa.array([sample] * table.num_rows, pa.int32())
    pq.write_table(table.set_column(2, "sample", column), path)
    assert accepted("tables: answers", [path], lambda: check_outcomes(path)) is None


HEAD = ("Record ID", "Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2",
        "Incorrect Answer 3", "Explanation", "High-level domain")  # fmt: skip


def archive(table: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as file:
        file.writestr("dataset/gpqa_main.csv", table)
    return sink.getvalue()


def published() -> bytes:
    text = io.StringIO()
    rows: list[Any] = [HEAD, ["r1", "Why?", *"abcd", "So.", "Physics"]]
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


@fuzz(40)
@given(damaged_bytes(published()).map(archive) | damaged_bytes(archive(published())))
@example(archive(b""))
@example(archive(published().replace(b"Why?", b"y" * 200_000)))
@example(archive(published(), zipfile.ZIP_STORED).replace(b"Why?", b"Who?"))
def test_archives(folder: Path, data: bytes) -> None:
    path = folder / "gpqa" / "dataset.zip"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)

    def read() -> list[Row]:
        return load_task("gpqa", str(folder), 0).rows("main")

    accepted("tables: archive", [path], read)


@pytest.mark.parametrize("how", MISPLACED)
def test_no_file_in_the_place_of_a_table(tmp_path: Path, how: str) -> None:
    path = misplace(tmp_path / "answers" / "a.parquet", how)
    accepted("tables: misplaced", [path], lambda: check_outcomes(path))
    zipped = misplace(tmp_path / "gpqa" / "dataset.zip", how)
    task = load_task("gpqa", str(tmp_path), 0)
    accepted("tables: misplaced", [zipped, "data_dir"], lambda: task.rows("main"))
