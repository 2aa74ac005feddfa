"""A number per token, summed within each row: its means, and how far other rows would move them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_INDICES_PER_BLOCK = 1_000_000


@dataclass(frozen=True, eq=False)
class TokenSums:
    """Sums over the tokens of B rows. A row without tokens was not measured and counts nowhere.

    The change between two on the same rows, ``TokenSums(after.sum_B - before.sum_B, tokens_B)``,
    has a paired interval. Raises ValueError for unequal lengths or no token at all.
    """

    sum_B: npt.NDArray[np.float64]
    tokens_B: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.sum_B.shape != self.tokens_B.shape or not self.tokens_B.any():
            raise ValueError(f"{self.sum_B.shape} sums over {self.tokens_B.sum()} tokens")

    @property
    def mean(self) -> float:
        """Mean over all tokens: a long row weighs more."""
        return float(self.sum_B.sum() / self.tokens_B.sum())

    @property
    def row_means_B(self) -> npt.NDArray[np.float64]:
        """Mean of each row (B,); NaN where it has no tokens."""
        nothing_B = np.full(self.sum_B.shape, np.nan)
        return np.divide(self.sum_B, self.tokens_B, out=nothing_B, where=self.tokens_B > 0)

    def interval(self, resamples: int, seed: int) -> tuple[float, float]:
        """95 % percentile interval of ``mean`` over resampled rows, a ratio of sums each time."""
        measured_B = self.tokens_B > 0
        sum_B, tokens_B = self.sum_B[measured_B], self.tokens_B[measured_B]
        rng = np.random.default_rng(seed)
        means_R = np.empty(resamples)
        block = max(1, _INDICES_PER_BLOCK // sum_B.size)
        for start in range(0, resamples, block):
            count = min(block, resamples - start)
            draws_RB = rng.integers(sum_B.size, size=(count, sum_B.size), dtype=np.int32)
            sums_R = sum_B[draws_RB].sum(axis=1)
            means_R[start : start + count] = sums_R / tokens_B[draws_RB].sum(axis=1)
        low, high = np.quantile(means_R, [0.025, 0.975])
        return float(low), float(high)
