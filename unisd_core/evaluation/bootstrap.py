"""Paired bootstrap interval of the difference between two accuracies on the same rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_INDICES_PER_BLOCK = 1_000_000


@dataclass(frozen=True)
class Interval:
    """Difference final - base and its 95 % bounds, all as fractions in [-1, 1]."""

    difference: float
    low: float
    high: float


def paired_bootstrap(
    base_B: npt.NDArray[np.bool_], final_B: npt.NDArray[np.bool_], resamples: int, seed: int
) -> Interval:
    """95 % percentile interval of ``mean(final_B) - mean(base_B)``.

    ``base_B`` and ``final_B`` (both (B,) bool) are the outcomes of the same B rows, so rows
    are drawn in pairs: the variance between easy and hard rows cancels. Exchanging
    the two arguments negates the interval. Memory does not grow with
    ``resamples * B``. Raises ValueError for unequal or empty inputs.
    """
    if base_B.shape != final_B.shape or base_B.ndim != 1 or not base_B.size:
        raise ValueError(
            f"base and final must be equally long, not {base_B.shape}, {final_B.shape}"
        )
    change_B = final_B.astype(np.int64) - base_B.astype(np.int64)
    return row_bootstrap(change_B, 1, resamples, seed)


def row_bootstrap(
    change_B: npt.NDArray[np.int64] | npt.NDArray[np.float64],
    scale: int,
    resamples: int,
    seed: int,
) -> Interval:
    """95 % percentile interval of the mean of ``change_B / scale`` (B,) over resampled rows.

    Whole numbers with a common denominator keep the sums exact.
    """
    rows = change_B.size
    rng = np.random.default_rng(seed)
    sums_R = np.empty(resamples, dtype=change_B.dtype)
    block = max(1, _INDICES_PER_BLOCK // rows)
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        draws_RB = rng.integers(rows, size=(count, rows), dtype=np.int32)
        sums_R[start : start + count] = change_B[draws_RB].sum(axis=1)
    low, high = np.quantile(sums_R, [0.025, 0.975]) / (rows * scale)
    return Interval(float(change_B.mean() / scale), float(low), float(high))
