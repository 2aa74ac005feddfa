"""Numbers gone bad are found in the columns of a batch, and counted."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.rows import scored
from unisd_core.common.schema import not_finite
from unisd_core.common.visits import LostRow, Visit
from unisd_core.training.nonfinite_rows import (
    LEARNED_FROM,
    BadBatches,
    sort_out,
    write_down,
)

BAD = st.sampled_from([math.nan, math.inf, -math.inf])
PLACES = ["teacher_hidden", "negative_logprobs", "logprobs", "token_weights", "sequence_weight"]


@given(st.dictionaries(st.integers(0, 6), st.tuples(st.sampled_from(PLACES), BAD)), st.data())
def test_every_row_with_a_bad_number_is_found_and_no_other(poison, data) -> None:
    clean = scored(7)
    rows = clean.to_pylist()
    for index, (name, value) in poison.items():
        if isinstance(rows[index][name], list):
            place = data.draw(st.integers(0, len(rows[index][name]) - 1))
            rows[index][name][place] = value
        else:
            rows[index][name] = value
    table = pa.Table.from_pylist(rows, schema=clean.schema)
    cut = data.draw(st.integers(0, 7))
    # Blocks of a stream: slices, and tables of several chunks.
    table = pa.concat_tables([table.slice(0, cut), table.slice(cut)])
    reasons = not_finite(table, LEARNED_FROM)
    expected = [poison.get(index) for index in range(7)]
    assert reasons == [found and f"not finite: {found[0]}" for found in expected]
    sound, bad = sort_out(table, reasons, version=3)
    assert sound["position"].to_pylist() == [n for n in range(7) if n not in poison]
    assert [(row.visit, row.reason) for row in bad] == [
        (Visit(n, 0), reasons[n]) for n in sorted(poison)
    ]


def test_views_are_lists_in_lists() -> None:
    rows = scored(2).to_pylist()
    rows[1]["auxiliary_logprobs"][1][0] = math.nan
    table = pa.Table.from_pylist(rows, schema=scored(1).schema)
    assert not_finite(table, ["auxiliary_logprobs"]) == [None, "not finite: auxiliary_logprobs"]


def test_columns_that_nobody_filled_are_sound() -> None:
    rows = scored(2).to_pylist()
    for row in rows:
        row |= {"teacher_hidden": None, "negative_logprobs": None}
    table = pa.Table.from_pylist(rows, schema=scored(1).schema)
    assert not_finite(table, LEARNED_FROM) == [None, None]
    assert not_finite(table.slice(0, 0), LEARNED_FROM) == []


def test_rows_are_written_down_one_by_one(tmp_path: Path) -> None:
    row = LostRow("row-1", 7, 0, 3, "not finite: logprobs")
    write_down(tmp_path, [row])
    file = write_down(tmp_path, [row])
    assert file == tmp_path / "bad_rows.jsonl"
    assert [json.loads(line) for line in file.read_text().splitlines()] == 2 * [
        {"uid": "row-1", "position": 7, "attempt": 0, "version": 3,
         "reason": "not finite: logprobs"}
    ]  # fmt: skip


@pytest.mark.parametrize("limit", [0, 2])
def test_the_limit_counts_batches_in_a_row(tmp_path: Path, limit: int) -> None:
    row = LostRow("row-1", 7, 0, 3, "not finite: logprobs")
    batches = BadBatches(limit, tmp_path)
    for _ in range(2):
        assert [batches.count([row]) for _ in range(limit)] == [None] * limit
        assert batches.count([]) is None
    assert [batches.count([row]) for _ in range(limit)] == [None] * limit
    problem = batches.count([row, row])
    assert problem is not None and "\n" not in problem
    for part in (f"{limit + 1} batches", "2: not finite: logprobs", "max_bad_batches", "jsonl"):
        assert part in problem
