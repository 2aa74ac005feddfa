"""Dataset: the Ray Data streams that carry rollouts, and how their stages are run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray.data
from ray.data import Dataset


def stream_of(items: Sequence[dict[str, Any]]) -> Dataset:
    """A stream that begins with one block for each of ``items``."""
    # Not from_arrow, whose tasks wait for ever where no node has a whole CPU free.
    return ray.data.from_items(list(items), override_num_blocks=len(items))


def fixed_stage(actors: int, queue: int | None = None) -> dict[str, Any]:
    """A stage of a fixed number of actors that takes each chunk whole.

    Ray Data looks for finished chunks every 0.1 s and needs two looks for one, so that an actor
    takes at most ``queue`` chunks in 0.2 s (default: twice its calls at a time).
    """
    compute = ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=queue)
    return {"batch_size": None, "batch_format": "pyarrow", "compute": compute}
