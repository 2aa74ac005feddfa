"""Totals of rows do not depend on how the rows were dealt out."""

from __future__ import annotations

import dataclasses

import pyarrow as pa
import pytest

from tests.support.rows import scored
from unisd_core.training.batch_stats import BatchTotals, batch_totals


def aged(*versions: int) -> pa.Table:
    rows = scored(len(versions)).to_pylist()
    for row, version in zip(rows, versions, strict=True):
        row["version_first"] = version
    return pa.Table.from_pylist(rows, schema=scored(1).schema)


def test_ages_are_counted_from_the_version_that_trains():
    metrics = batch_totals(aged(3, 5, 4, 5), version=5).metrics()
    assert metrics["staleness_max"] == 2
    assert metrics["staleness_mean"] == 0.75
    assert metrics["stale_fraction"] == 0.5
    assert metrics["rows"] == 4


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_workers_add_up_to_the_whole(cut):
    table = aged(3, 5, 4, 5)
    whole = batch_totals(table, 5)
    parts = [batch_totals(table.slice(0, cut), 5), batch_totals(table.slice(cut), 5)]
    together = BatchTotals.together(parts)
    for field in dataclasses.fields(whole):
        assert getattr(together, field.name) == pytest.approx(getattr(whole, field.name))


def test_scored_tokens_are_those_of_every_view():
    row = scored(1).to_pylist()[0]
    expected = sum(len(ids) + len(row["completion_ids"]) for ids in row["view_ids"])
    assert batch_totals(scored(1), 0).scored_tokens == expected
