"""Uids as numbers: which of many prompts are done, in 8 bytes each."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

Digests = NDArray[np.uint64]


def uid_digest(uid: str) -> int:
    """64 bits, which two of ten million uids share with a chance of three in a million."""
    return int.from_bytes(hashlib.blake2b(uid.encode(), digest_size=8).digest())
