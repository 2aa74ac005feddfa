"""Importance correction of rows that an older version of the student sampled.

Log-probs of the sampled tokens only, at temperature 1; the engine reported the older ones.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from unisd_core.config.method import ImportanceConfig


class ImportanceWeights(NamedTuple):
    """Importance weight of each token, and where the cap acts."""

    weight_N: Tensor
    """Factor of each token's value in every term; no gradient."""
    capped_N: Tensor
    """bool: the ratio was above the cap."""


def importance_weights(
    student_logprob_N: Tensor,
    behaviour_logprob_N: Tensor,
    stale_N: Tensor,
    row_N: Tensor,
    config: ImportanceConfig,
) -> ImportanceWeights:
    """Truncated ratio of the probability now to the probability when a token was sampled.

    Token level: min(r_t, cap). Sequence level: min(prod_t r_t, cap) at every token of the row,
    whose tokens must all be given. Ratios of tokens that are not stale are 1, and so are the
    weights of rows without a stale token; there ``behaviour_logprob_N`` may be NaN. Level ``off``
    gives ones.
    """
    student_N = student_logprob_N.detach()
    log_ratio_N = student_N - behaviour_logprob_N.to(student_N.dtype)
    log_ratio_N = torch.where(stale_N, log_ratio_N, torch.zeros_like(log_ratio_N))
    corrected_N = stale_N
    if config.level == "off":
        corrected_N = torch.zeros_like(stale_N)
    elif config.level == "sequence":
        rows = int(row_N.max()) + 1 if len(row_N) else 0
        log_ratio_N = log_ratio_N.new_zeros(rows).index_add(0, row_N, log_ratio_N)[row_N]
        stale_R = log_ratio_N.new_zeros(rows).index_add(0, row_N, stale_N.to(log_ratio_N.dtype))
        corrected_N = stale_R[row_N] > 0
    # The cap is taken on the logarithm: a product over many tokens may be too large for exp.
    log_cap = math.log(config.cap)
    weight_N = log_ratio_N.clamp(max=log_cap).exp()
    weight_N = torch.where(corrected_N, weight_N, torch.ones_like(weight_N))
    return ImportanceWeights(weight_N, corrected_N & (log_ratio_N > log_cap))
