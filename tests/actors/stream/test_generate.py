"""The generating stage, from prompts to rows with answers."""

from __future__ import annotations

import pyarrow as pa

from actors.admission.ledger import Admission
from actors.generator.types import Completion
from actors.stream.generate import gold, trajectories
from unisd_core.common.schema import PROMPT, TRAJECTORY
from unisd_core.common.visits import Visit

ADMITTED = [Admission(Visit(n, attempt=n), row=n, min_version=4) for n in range(3)]
PROMPTS = [
    {"uid": f"q{n}", "row": n, "prompt_ids": [n, n + 1], "view_ids": [[n] * 4, [n] * 2],
     "gold_ids": [9, 2], "negative_ids": [[7] * n]}
    for n in range(3)
]  # fmt: skip
SAMPLED = [Completion([5, 2], [-0.5, -0.1], "stop", 4, 5, 1, 10.0, 11.0) for _ in ADMITTED]


def made(source: str, negatives: list[list[int] | None]) -> pa.Table:
    return trajectories(
        pa.Table.from_pylist(PROMPTS, schema=PROMPT),
        SAMPLED,
        visits=[admission.visit for admission in ADMITTED],
        source=[source] * 3,
        negative=negatives,
    )


def test_a_negative_view_comes_last_and_only_where_there_is_one() -> None:
    negatives = [None, [7, 8], None]
    table = made("student", negatives)
    assert table.schema.equals(TRAJECTORY)
    assert table["view_ids"].to_pylist() == [
        [[0] * 4, [0] * 2], [[1] * 4, [1] * 2, [7, 8]], [[2] * 4, [2] * 2]
    ]  # fmt: skip
    rows = table.to_pylist()
    assert [row["uid"] for row in rows] == ["q0", "q1", "q2"]
    assert rows[2]["prompt_ids"] == [2, 3]
    assert (rows[1]["position"], rows[1]["attempt"], rows[1]["version_last"]) == (1, 1, 5)


def test_without_negatives_the_views_stay_as_they_are() -> None:
    table = made("teacher", [None] * 3)
    assert table["view_ids"].to_pylist() == [row["view_ids"] for row in PROMPTS]
    assert set(table["source"].to_pylist()) == {"teacher"}


def test_a_reference_is_as_old_as_its_admission_allows() -> None:
    answer = gold(ADMITTED[0], [9, 2])
    assert answer.token_ids == [9, 2] and answer.logprobs == [0.0, 0.0]
    assert answer.version_first == answer.version_last == 4
