"""Weights from the agreement of K auxiliary views (paper, section on multi-teacher agreement).

Sees a whole global batch at once: the scale of the token level and the mean of the sequence level
are properties of that batch, so the result does not depend on how its rows were
scored, ordered or sharded. NumPy in float64; knows no models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unisd_core.config.method import AgreementConfig

Array = NDArray[np.float64]

# Views closer than this (nats, or squared nats for a variance) count as identical.
SMALLEST_SCALE = 1e-6


@dataclass(frozen=True)
class AgreementWeights:
    """Weights of a global batch of B rows and what they came from."""

    token_weights: list[Array]
    """Per row (T_b,); all ones unless the level is ``token``."""
    sequence_weight: Array
    """(B,); mean 1 over the batch; all ones unless the level is ``sequence``."""
    scale: float
    """Divisor of the token disagreement: its quantile over the batch, or the running mean of that
    quantile, to be handed to the next call. 1 where it has no role."""
    mean_disagreement: float
    """Mean over tokens or, for ``sequence``, rows, before scaling; 0 for ``off`` or K = 1."""


def agreement_weights(
    aux_logprobs: Sequence[Array], config: AgreementConfig, previous_scale: float | None = None
) -> AgreementWeights:
    """Weights of each token and row from ``aux_logprobs``, one (K, T_b) array per row.

    Token level, with delta the unbiased variance (or the range) over the K views and s its
    quantile over all tokens of the batch: w = max(floor, 1 / (1 + gamma * min(delta / s, cap))).
    With ``scale`` running, s is running_rate * previous_scale + (1 - running_rate) * quantile;
    ``previous_scale`` is the ``scale`` of the batch before, None before the first.

    Sequence level, with delta the biased variance (or the range) over the views' mean
    log-prob per token: w = max(floor, exp(-gamma * delta)), divided by its mean over the batch.
    A weight that is constant in a row cancels against that row's own weight sum (paper, Eq. 9);
    ``sequence_weight`` multiplies the row's loss after that division, so it acts, unless
    ``normalise`` asks for the paper's form; the objective applies it either way.

    Rows that a filter removes must be gone before the call. Raises ValueError naming the row
    for a wrong shape, a differing K or a log-prob that is not finite.
    """
    rows = _validated(aux_logprobs)
    ones = [np.ones(row.shape[1]) for row in rows]
    even = np.ones(len(rows))
    if config.level == "off" or not rows or rows[0].shape[0] == 1:
        return AgreementWeights(ones, even, 1.0, 0.0)
    if config.level == "token":
        delta = [_token_disagreement(row, config) for row in rows]
        scale = _quantile_scale(delta, config, previous_scale)
        weights = [_token_weight(d / scale, config) for d in delta]
        return AgreementWeights(weights, even, scale, _mean(delta))
    row_delta = np.array([_sequence_disagreement(row, config) for row in rows])
    raw = np.maximum(config.floor, np.exp(-config.gamma * row_delta))
    sequence_weight = raw * (len(raw) / math.fsum(raw))
    return AgreementWeights(ones, sequence_weight, 1.0, _mean([row_delta]))


def token_scale(aux_logprobs: Sequence[Array], config: AgreementConfig) -> float:
    """Quantile of the token disagreement over these rows, of ``agreement_weights``'s token level;
    1 for K = 1. Raises like ``agreement_weights``."""
    rows = _validated(aux_logprobs)
    if not rows or rows[0].shape[0] == 1:
        return 1.0
    return _quantile_scale([_token_disagreement(row, config) for row in rows], config, None)


def mean_token_agreement(
    aux_logprobs: Sequence[Array], config: AgreementConfig, scale: float | None = None
) -> Array:
    """Mean token weight of each row at gamma = 1, shape (B,): what ``filter.min_agreement`` reads.

    Taken at the token level and a fixed gamma, whatever the weights of ``config``, so that the
    filter keeps its meaning. ``scale`` divides the disagreement, by default that of these rows.
    Rows without tokens, and all rows for K = 1, count 1. Raises like ``agreement_weights``.
    """
    rows = _validated(aux_logprobs)
    if not rows or rows[0].shape[0] == 1:
        return np.ones(len(rows))
    fixed = config.model_copy(update={"gamma": 1.0})
    divisor = token_scale(rows, config) if scale is None else scale
    weights = [_token_weight(_token_disagreement(row, config) / divisor, fixed) for row in rows]
    return np.array([w.mean() if len(w) else 1.0 for w in weights])


def row_agreement_filter(agreement_B: Array, lowest_share: float) -> NDArray[np.bool_]:
    """Rows to keep, bool (B,): all but the floor(share * B) that agree least.

    ``agreement_B`` is the mean agreement of each row. Of rows that agree alike the earlier go
    first. Raises ValueError unless 0 <= ``lowest_share`` < 1.
    """
    if not 0.0 <= lowest_share < 1.0:
        raise ValueError(f"lowest_share {lowest_share} must lie in [0, 1)")
    rows = len(agreement_B)
    # 0.29 * 100 is a hair under 29 in binary; the share that was asked for is exact.
    dropped = math.floor(round(lowest_share * rows, 9))
    kept = np.ones(rows, dtype=np.bool_)
    kept[np.argsort(agreement_B, kind="stable")[:dropped]] = False
    return kept


def _validated(aux_logprobs: Sequence[Array]) -> list[Array]:
    rows = [np.asarray(row, dtype=np.float64) for row in aux_logprobs]
    for index, row in enumerate(rows):
        if row.ndim != 2 or row.shape[0] != rows[0].shape[0] or row.shape[0] == 0:
            raise ValueError(
                f"row {index}: auxiliary log-probs of shape {row.shape}, expected (K, T) "
                f"with the K of row 0 {rows[0].shape}"
            )
        if not np.isfinite(row).all():
            raise ValueError(f"row {index}: an auxiliary log-prob is not finite")
    return rows


def _token_disagreement(row_KT: Array, config: AgreementConfig) -> Array:
    spread = np.ptp(row_KT, axis=0) if config.statistic == "range" else row_KT.var(0, ddof=1)
    return np.asarray(spread, dtype=np.float64)


def _sequence_disagreement(row_KT: Array, config: AgreementConfig) -> float:
    mean_K = row_KT.sum(axis=1) / max(1, row_KT.shape[1])
    if config.statistic == "range":
        return float(np.ptp(mean_K))
    return float(np.var(mean_K))


def _quantile_scale(delta: list[Array], config: AgreementConfig, previous: float | None) -> float:
    if config.scale == "batch":
        previous = None
    every_token = np.concatenate(delta)
    if len(every_token):
        quantile = float(np.quantile(every_token, config.quantile))
    else:
        quantile = SMALLEST_SCALE if previous is None else previous
    if previous is not None:
        quantile = config.running_rate * previous + (1.0 - config.running_rate) * quantile
    return max(quantile, SMALLEST_SCALE)


def _token_weight(scaled_T: Array, config: AgreementConfig) -> Array:
    return np.maximum(config.floor, 1.0 / (1.0 + config.gamma * np.minimum(scaled_T, config.cap)))


def _mean(delta: list[Array]) -> float:
    # fsum is exact, so the mean cannot depend on the order of the rows.
    values = np.concatenate(delta)
    return math.fsum(values) / max(1, len(values))
