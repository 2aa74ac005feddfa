"""AgreementBar: what rollouts have to reach for ``filter.min_agreement`` and
``filter.lowest_agreement``."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from unisd_core.common.columns import row_matrices
from unisd_core.config.run import Config
from unisd_core.objective.agreement import mean_token_agreement, row_agreement_filter, token_scale


class AgreementBar(NamedTuple):
    """What rows are held against: the scale of their tokens' disagreement, and the lowest
    agreement that passes filter.lowest_agreement."""

    scale: float
    lowest: float


def held_against(
    rows: pa.Table, config: Config, bar: AgreementBar | None = None
) -> tuple[list[str | None], AgreementBar]:
    """For each of ``rows`` (``SCORED``, all numbers finite) why its agreement is too low, or None;
    and the bar: ``bar``, or the one that these rows make when they are compared together."""
    settings, agreement = config.filter, config.objective.agreement
    views = row_matrices(rows["auxiliary_logprobs"])
    scale = token_scale(views, agreement) if bar is None else bar.scale
    agreement_B = mean_token_agreement(views, agreement, scale)
    if bar is None:
        kept_B = row_agreement_filter(agreement_B, settings.lowest_agreement)
        lowest = min(agreement_B[kept_B], default=-np.inf)
        bar = AgreementBar(scale, -np.inf if kept_B.all() else float(lowest))
    else:
        kept_B = agreement_B >= bar.lowest
    reasons: list[str | None] = []
    for value, kept in zip(agreement_B, kept_B, strict=True):
        if value < settings.min_agreement:
            reasons.append("views disagree")
        else:
            reasons.append(None if kept else "views disagree most")
    return reasons, bar
