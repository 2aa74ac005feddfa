"""Cache of a frozen teacher's scores, so that no tokens are scored twice.

References that are rollouts come once an epoch, and rows that a restart hands out again may have
the same completion. The oldest entries go when the bound is reached.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any

import numpy as np

ViewScores = dict[str, Any]
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
        """Keep a copy; an array may be part of a larger one."""
        copy = {name: np.array(v) if isinstance(v, np.ndarray) else v for name, v in scores.items()}
        size = sum(_bytes(value) for value in copy.values())
        if size > self.limit or key in self._kept:
            return
        self._kept[key] = (copy, size)
        self.size += size
        while self.size > self.limit:
            self.size -= self._kept.popitem(last=False)[1][1]


def _bytes(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return value.nbytes
    return sum(map(_bytes, value)) if isinstance(value, list) else 32
