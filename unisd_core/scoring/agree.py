"""Agree: the filter and the agreement weights in one call, for rollouts that are a batch."""

from __future__ import annotations

import pyarrow as pa

from unisd_core.common.errors import UserError
from unisd_core.config.run import Config
from unisd_core.scoring.agreement_columns import with_agreement_weights
from unisd_core.scoring.rollout_filter import Parseable, RolloutFilter, without


def agree(
    scored: pa.Table,
    config: Config,
    *,
    batch: int = 0,
    scale: float | None = None,
    parseable: Parseable | None = None,
) -> pa.Table:
    """The rows of ``scored`` (``SCORED``) that pass ``config.filter``, with token and sequence
    weights over all of them (paper, section on multi-teacher agreement), ready for
    ``Student.update``.

    ``batch`` is the step that takes them and ``scale`` the ``agreement_scale`` of the batch before
    it. ``filter.drop_unreadable`` needs ``parseable``. Raises UserError where no row is left.
    """
    if config.filter.drop_unreadable and parseable is None:
        raise UserError("filter.drop_unreadable: agree() needs parseable; give it, or set false")
    passing = without(scored, RolloutFilter(config, "", parseable).reasons(scored))
    if not passing.num_rows:
        raise UserError(f"filter: left out all {scored.num_rows} rollouts; relax it")
    weighted, _ = with_agreement_weights(passing, config, batch, scale)
    return weighted
