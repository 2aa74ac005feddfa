"""Rows that only got lost are named to the user when a run ends for it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

from actors.admission.ledger import Lost
from actors.learners import Learners


def learners_of(lost: list[tuple[int, Lost]]) -> Learners:
    learners = Learners.__new__(Learners)  # no cluster
    gate = SimpleNamespace(lost=lambda: lost)
    learners.job = SimpleNamespace(gate=gate)  # type: ignore[assignment]
    learners.uids = ["a", "b", "c"]
    return learners


def test_the_last_lost_rows_are_listed_by_uid(tmp_path: Path) -> None:
    lost = [(2, Lost(5, 0, 1, "truncated")), (0, Lost(6, 1, 1, "empty completion"))]
    said = learners_of(lost)._lost_rows(tmp_path)
    file = tmp_path / "bad_rows.jsonl"
    assert said == f"; the last 2 of them are in {file}"
    assert [json.loads(line) for line in file.read_text().splitlines()] == [
        {"uid": "c", "position": 5, "attempt": 0, "version": 1, "reason": "truncated"},
        {"uid": "a", "position": 6, "attempt": 1, "version": 1, "reason": "empty completion"},
    ]


def test_what_the_learner_has_listed_is_not_listed_again(tmp_path: Path) -> None:
    assert learners_of([])._lost_rows(tmp_path) == ""
    assert list(tmp_path.iterdir()) == []
