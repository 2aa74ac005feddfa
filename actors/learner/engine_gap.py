"""Engine gap: log-probs of the engine against the learner's, on one row of a batch."""

from __future__ import annotations

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
    rows = rows.drop_columns(list(STATES))
    if state.student.sharded:
        rows = state.workers.from_first(rows)
    known = state.publisher.known
    comparable = [
        row
        for row in rows.to_pylist()
        if row["source"] != "gold"  # nobody sampled it
        and row["version_first"] == row["version_last"]
        and row["version_first"] in known
    ]
    if not comparable:
        return {}
    youngest = max(comparable, key=lambda row: (row["version_first"], -row["position"]))
    gap = state.student.logprob_gap(youngest, known[youngest["version_first"]])
    return {"engine_learner_logprob_gap": gap}
