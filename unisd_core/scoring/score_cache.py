"""Cache of a frozen teacher's scores, so that no tokens are scored twice.

References that are rollouts come once an epoch, and rows that a restart hands out again may have
the same completion. The oldest entries go when the bound is reached.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np

ViewScores = dict[str, np.ndarray]
"""What a view leaves of one completion: columns of ``SCORED``, or its log-probs."""


class ScoreCache:
    """Bounded by ``limit`` bytes of what is kept; 0 keeps nothing."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._kept: OrderedDict[bytes, tuple[ViewScores, int]] = OrderedDict()

    def key(self, ids: list[int], start: int, teacher: bool) -> bytes:
        """Names tokens, where the completion begins, and what is asked of them."""
        digest = hashlib.blake2b(np.asarray(ids, np.int64).tobytes(), digest_size=16)
        digest.update(f"{start}/{teacher}".encode())
        return digest.digest()

    def get(self, key: bytes) -> ViewScores | None:
        """The scores kept under ``key``, or None."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def put(self, key: bytes, scores: ViewScores) -> None:
        """Keep a copy, as an array may be part of a larger one."""
        size = sum(values.nbytes for values in scores.values())
        if size > self.limit or key in self._kept:
            return
        copy = {name: values.copy() for name, values in scores.items()}
        self._kept[key] = (copy, size)
        self.size += size
        while self.size > self.limit:
            self.size -= self._kept.popitem(last=False)[1][1]
