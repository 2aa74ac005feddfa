from __future__ import annotations

import pyarrow as pa

from tests.support.rows import scored
from unisd_core.common.schema import SCORED
from unisd_core.reporting.spans import joined, stage_spans


def rows(*changes: dict[str, float]) -> pa.Table:
    found = scored(len(changes)).to_pylist()
    return pa.Table.from_pylist(
        [row | change for row, change in zip(found, changes, strict=True)], schema=SCORED
    )


def test_the_times_of_all_workers_are_joined():
    first = stage_spans(
        rows(
            {"sampled_from": 1.0, "sampled_until": 3.0, "scored_from": 4.0, "scored_until": 5.0},
            {"sampled_from": 2.0, "sampled_until": 3.5, "scored_from": 4.0, "scored_until": 5.0},
        )
    )
    second = stage_spans(rows({"sampled_from": 7.0, "sampled_until": 8.00049}))
    assert joined([first, second], learn=[(9.0, 10.0)], push=[]) == {
        "generate": [(1.0, 3.5), (7.0, 8.0)],
        "score": [(4.0, 5.0)],
        "learn": [(9.0, 10.0)],
        "push": [],
    }


def test_a_reference_that_nobody_sampled_has_no_time():
    assert stage_spans(rows({}))["generate"] == []
