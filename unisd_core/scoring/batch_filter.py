"""BatchFilter: batches of rollouts whose views agree enough, compared within whole batches."""

from __future__ import annotations

import pyarrow as pa

from unisd_core.common.schema import SCORED
from unisd_core.common.visits import Visit, visits_of
from unisd_core.config.run import Config
from unisd_core.scoring.agreement_bar import AgreementBar, held_against
from unisd_core.scoring.rollout_filter import without


class BatchFilter:
    """Collects rollouts that ``RolloutFilter`` lets pass and gives them back as whole batches.

    ``filter.min_agreement`` and ``filter.lowest_agreement`` compare rows with one another, so that
    a row's fate depends on whom it is compared with. The first training.batch_size rows of a batch
    are compared together; those that take the place of rows left out are held against the same
    scale and the same lowest agreement. Chunks, timing and the number of scorers do not matter.
    """

    def __init__(self, config: Config) -> None:
        self.config, self.size = config, config.training.batch_size
        self.compares = config.filter.compares_rows
        self._waiting = SCORED.empty_table()
        self._passed = SCORED.empty_table()
        self._bar: AgreementBar | None = None
        self._left_out: dict[Visit, str] = {}

    @property
    def held(self) -> int:
        """Rows that have passed or still wait for others to be compared with."""
        return int(self._passed.num_rows + self._waiting.num_rows)

    def add(self, rows: pa.Table) -> None:
        """Take rows (``SCORED``) that a row filter let pass: all their numbers are finite."""
        self._waiting = _joined(self._waiting, rows)

    def next_batch(self) -> pa.Table | None:
        """The next whole batch, or None where rows are missing."""
        while self._passed.num_rows < self.size and self._waiting.num_rows:
            if self.compares and self._bar is None and self._waiting.num_rows < self.size:
                return None
            missing = self.size - self._passed.num_rows
            rows, self._waiting = self._waiting.slice(0, missing), self._waiting.slice(missing)
            if self.compares:
                rows = self._agreeing(rows)
            self._passed = _joined(self._passed, rows)
        if self._passed.num_rows < self.size:
            return None
        batch, self._passed, self._bar = self._passed, SCORED.empty_table(), None
        return batch

    def take_left_out(self) -> dict[Visit, str]:
        """The rows that were left out since the last call, with the reason."""
        left_out, self._left_out = self._left_out, {}
        return left_out

    def _agreeing(self, rows: pa.Table) -> pa.Table:
        reasons, self._bar = held_against(rows, self.config, self._bar)
        visits = visits_of(rows)
        self._left_out |= {visit: why for visit, why in zip(visits, reasons, strict=True) if why}
        return without(rows, reasons)


def _joined(held: pa.Table, rows: pa.Table) -> pa.Table:
    # An empty table may stand for rows of another type: states come in two.
    return pa.concat_tables([held, rows]) if held.num_rows else rows
