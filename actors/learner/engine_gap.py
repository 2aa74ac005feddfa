"""Engine gap: log-probs of the engine against the learner's, on one row of a batch."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import pyarrow as pa

from actors.learner.state import LearnerState
from actors.learner.step_record import STATES


def engine_gap(rows: pa.Table, state: LearnerState) -> dict[str, float]:
    """The gap on the youngest row that one version sampled, under the weights of that version.

    Rows older than the current weights cannot be compared in the training pass itself. Shards are
    whole only while all workers read, so that all of them call; of replicas only the first one
    measures.
    """
    if not (state.workers.is_first or state.student.sharded):
        return {}
    known = state.publisher.known
    row = _youngest(rows, known)
    if state.student.sharded:
        row = state.workers.from_first(row)
    if row is None:
        return {}
    gap = state.student.logprob_gap(row, known[row["version_first"]])
    return {"engine_learner_logprob_gap": gap}


def _youngest(rows: pa.Table, known: Container[int]) -> dict[str, Any] | None:
    columns = ["source", "version_first", "version_last", "position"]
    comparable = [
        (row["version_first"], -row["position"], index)
        for index, row in enumerate(rows.select(columns).to_pylist())
        if row["source"] != "gold"  # nobody sampled it
        and row["version_first"] == row["version_last"]
        and row["version_first"] in known
    ]
    if not comparable:
        return None
    *_, index = max(comparable)
    return rows.drop_columns(list(STATES)).slice(index, 1).to_pylist()[0]
