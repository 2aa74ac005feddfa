"""Step record: what a step leaves behind, as a line of metrics, time spans and trajectories."""

from __future__ import annotations

import time
from typing import Any

import pyarrow as pa

from actors.learner.state import LearnerState
from actors.runtime.metrics import record
from unisd_core.common.process import peak_memory
from unisd_core.reporting.run_dir import RunDir
from unisd_core.reporting.spans import Span, joined, stage_spans
from unisd_core.training.batch_stats import BatchTotals, batch_totals

STATES = ("teacher_hidden", "teacher_features", "teacher_topk_ids", "teacher_topk_logprobs")
"""Columns that only the update reads."""

NOT_KEPT = (*STATES, "view_ids")
"""Columns that are left out of the trajectories on disk: large, and derivable."""


class StepRecord:
    """Begins when a batch has come; ``waiting_since`` (``time.perf_counter``) the learner waited
    for it."""

    def __init__(self, waiting_since: float) -> None:
        self.began = time.perf_counter()
        self.waited = self.began - waiting_since
        self.metrics: dict[str, Any] = {}
        self.batch = BatchTotals()
        self.spans: list[dict[str, list[Span]]] = []
        self.pushes: list[Span] = []

    def count(self, rows: pa.Table, state: LearnerState) -> None:
        """Add ages, lengths and costs of the rows that all workers trained on; ``rows`` are this
        worker's."""
        own = batch_totals(rows, state.version), stage_spans(rows)
        shares = state.workers.gather(own)
        self.batch = BatchTotals.together(totals for totals, _ in shares)
        self.spans = [spans for _, spans in shares]
        self.metrics |= self.batch.metrics()

    def published(self, size: int, pushes: list[Span]) -> None:
        """The new version of ``size`` bytes is with the store, which has made ``pushes`` of earlier
        ones since the last step."""
        self.pushes = pushes
        self.metrics["push_bytes"] = size
        if pushes:
            self.metrics["push_seconds"] = pushes[-1][1] - pushes[-1][0]

    def write(self, run_dir: RunDir, rows: pa.Table, state: LearnerState) -> None:
        """Write everything down, and add the step to ``state.totals``. Every worker writes its own
        trajectories, the first one the rest."""
        trajectories = rows.drop_columns(list(NOT_KEPT))
        run_dir.write_trajectories(state.version, trajectories, state.workers.rank)
        learned = time.perf_counter() - self.began
        self.batch.seconds = learned
        self.batch.learn_memory = peak_memory(state.student.device)
        state.totals = BatchTotals.together([state.totals, self.batch])
        if not state.workers.is_first:
            return
        now = time.time()
        self.metrics |= {
            "seconds_wait": self.waited,
            "seconds_learn": learned,
            "spans": joined(self.spans, learn=[(now - learned, now)], push=self.pushes),
            "memory_learn": self.batch.learn_memory,
            "bad_rows": state.totals.bad_rows,
            "bad_batches": state.totals.bad_batches,
        }
        run_dir.log(state.version, self.metrics)
        record("trained_tokens", self.batch.completion_tokens)
        record("staleness_mean", self.metrics["staleness_mean"])
        record("staleness_max", self.metrics["staleness_max"])
        record("learner_idle_seconds", self.waited)
        record("learner_busy_seconds", learned)
