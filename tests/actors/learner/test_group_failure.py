"""Rows that only got lost are named to the user when a run ends for it."""

from __future__ import annotations

import json
from pathlib import Path

from actors.learner.group import described
from actors.supervision.incidents import RunFailure
from unisd_core.common.visits import LostRow


def test_the_last_lost_rows_are_listed_by_uid(tmp_path: Path) -> None:
    lost = LostRow("c", 5, 0, 1, "truncated"), LostRow("a", 6, 1, 1, "empty completion")
    said = described(RunFailure("84 rows were lost", lost), tmp_path)
    file = tmp_path / "bad_rows.jsonl"
    assert said == f"84 rows were lost; the last 2 of them are in {file}"
    assert [json.loads(line) for line in file.read_text().splitlines()] == [
        {"uid": "c", "position": 5, "attempt": 0, "version": 1, "reason": "truncated"},
        {"uid": "a", "position": 6, "attempt": 1, "version": 1, "reason": "empty completion"},
    ]


def test_what_the_learner_has_listed_is_not_listed_again(tmp_path: Path) -> None:
    assert described(RunFailure("3 bad batches"), tmp_path) == "3 bad batches"
    assert list(tmp_path.iterdir()) == []
