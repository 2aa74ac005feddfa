"""The row on which engine and learner are compared."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pyarrow as pa

from actors.learner.engine_gap import engine_gap
from actors.learner.worker_group import WorkerGroup
from tests.support.rows import scored


def state(rank: int = 0, sharded: bool = False) -> Any:
    """A learner that still has the versions 3 and 4; its gap names the row and the weights."""
    student = SimpleNamespace(
        sharded=sharded, logprob_gap=lambda row, adapter: (row["position"], adapter)
    )
    return SimpleNamespace(
        workers=WorkerGroup(rank, size=1, limit_s=1.0),
        student=student,
        publisher=SimpleNamespace(known={3: "third", 4: "fourth"}),
    )


def rows(*changes: dict[str, Any]) -> pa.Table:
    table = scored(len(changes))
    fields = [row | change for row, change in zip(table.to_pylist(), changes, strict=True)]
    return pa.Table.from_pylist(fields, schema=table.schema)


OLD = {"version_first": 3, "version_last": 3}
YOUNG = {"version_first": 4, "version_last": 4}


def test_the_youngest_row_is_compared_under_the_weights_that_sampled_it() -> None:
    assert engine_gap(rows(OLD, YOUNG, YOUNG), state()) == {
        "engine_learner_logprob_gap": (1, "fourth")
    }


def test_rows_of_several_versions_of_unknown_ones_and_references_are_not_compared() -> None:
    mixed, unknown = OLD | {"version_last": 4}, {"version_first": 2, "version_last": 2}
    reference = YOUNG | {"source": "gold"}
    assert engine_gap(rows(mixed, unknown, reference), state()) == {}
    assert engine_gap(rows(mixed, OLD, reference), state()) == {
        "engine_learner_logprob_gap": (1, "third")
    }


def test_of_replicas_only_the_first_measures_and_of_shards_all_do() -> None:
    assert engine_gap(rows(YOUNG), state(rank=1)) == {}
    assert engine_gap(rows(YOUNG), state(rank=1, sharded=True)) != {}
