"""Agree: the stage that filters scored rollouts and weights batches by the agreement of views.

No torch.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import ray

from actors.admission.gate import GateClient
from actors.admission.ledger import Outcome
from actors.supervision.watchdog import WatchdogClient
from unisd_core.common.columns import rows_where
from unisd_core.common.visits import visits_of
from unisd_core.config.run import Config
from unisd_core.scoring.agreement_columns import with_agreement_weights
from unisd_core.scoring.batch_filter import BatchFilter
from unisd_core.scoring.rollout_filter import RolloutFilter


class Agree:
    """Collects the rows of a batch that pass the filter, weights them, and emits them together.

    One actor sees every row in order, so that weights and scale do not depend on the number of
    scorers. The watchdog monitors it, because the rows that it holds are lost with it.
    """

    def __init__(
        self, config: Config, gate: GateClient, model_dir: str, watchdog: WatchdogClient
    ) -> None:
        self.config, self.gate, self.watchdog = config, gate, watchdog
        self.monitored = False
        begin = gate.counters()
        self.batch: int = begin["version"]
        self.scale: float | None = begin["agreement_scale"]
        self.filter = RolloutFilter(config, model_dir)
        self.batches = BatchFilter(config)

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        if not self.monitored:
            self._ask_to_be_monitored()
        if table.num_rows:
            self.batches.add(self._admissible(table))
        while (batch := self.batches.next_batch()) is not None:
            yield self._weighted(batch)
        left_out = self.batches.take_left_out()
        if left_out:
            self.gate.close(left_out, Outcome.FILTERED)

    def _ask_to_be_monitored(self) -> None:
        # At the first chunk, and not before: then the gate has counted this stream.
        stream = self.gate.counters()["stream"]
        actor, limit = ray.get_runtime_context().current_actor, self.config.scorer.timeout_s
        self.watchdog.monitor.tell("agreement stage", actor, self.gate, stream, limit)
        self.monitored = True

    def _admissible(self, table: pa.Table) -> pa.Table:
        """The rows that may be trained on, each by itself, and that the gate still wants; it is
        told of the others."""
        reasons = self.filter.row_reasons(table)
        visits, versions = visits_of(table), table["version_first"].to_pylist()
        passing = [index for index, reason in enumerate(reasons) if reason is None]
        dropped = {visit: why for visit, why in zip(visits, reasons, strict=True) if why}
        wanted = self.gate.arrive({visits[index]: versions[index] for index in passing}, dropped)
        kept = np.zeros(table.num_rows, bool)
        kept[passing] = wanted
        return rows_where(table, kept)

    def _weighted(self, table: pa.Table) -> pa.Table:
        table, self.scale = with_agreement_weights(table, self.config, self.batch, self.scale)
        self.batch += 1
        return table
