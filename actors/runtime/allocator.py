"""The memory allocator of processes that compute on CPU."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import ray

KEEP = "dirty_decay_ms:-1,lg_extent_max_active_fit:16"
"""Pages that were freed are used again and not given back: each pass needs the same amount, and the
kernel zeroes what it hands out. A block may be cut from a free one of any size, as otherwise
batches of other lengths find nothing that suits, and the process grows."""


def computing_env(gpus: float) -> dict[str, Any]:
    """Ray's ``runtime_env`` for an actor that computes: with the jemalloc of Ray's own package
    where that is to be had, and neither ``gpus`` nor the user's LD_PRELOAD speak against it.

    glibc's allocator gives large blocks back to the kernel after each use and scatters the others.
    A node without the library says so in the actor's log and takes its usual allocator.
    """
    library = Path(ray.__file__).parent / "core" / "libjemalloc.so"
    usable = sys.platform == "linux" and library.exists() and "LD_PRELOAD" not in os.environ
    if gpus or not usable:
        return {}
    return {"env_vars": {"LD_PRELOAD": str(library), "MALLOC_CONF": KEEP}}
