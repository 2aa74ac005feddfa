"""Placement of actors: packed on few nodes or spread over many, or only on nodes of one kind.

The replicas that a run needs stand in one placement group, as the learners do by Ray Train's. Ray
reserves the group as a whole, so that a run either has room for its replicas or says that it has
none, and moves the places of a lost node elsewhere. Replicas that join later stand where there is
room.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import ray
from ray.util import get_placement_group, placement_group
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from unisd_core.config.stages import GeneratorConfig, ScorerConfig

KEEP = "dirty_decay_ms:-1,lg_extent_max_active_fit:16"
"""Pages that were freed are used again and not given back: each pass needs the same amount, and the
kernel zeroes what it hands out. A block may be cut from a free one of any size, as otherwise
batches of other lengths find nothing that suits, and the process grows."""

NAME = "generators"


def reserve(settings: GeneratorConfig) -> PlacementGroup:
    """Ask for the places of ``settings.least`` replicas; a pool that was restarted takes over those
    that it had."""
    try:
        return get_placement_group(NAME)
    except ValueError:
        pass
    place = {"CPU": settings.cpus, "GPU": settings.gpus * settings.tensor_parallel_size}
    place |= settings.custom_resources
    bundle = {name: amount for name, amount in place.items() if amount}
    return placement_group([bundle] * settings.least, settings.placement.upper(), NAME)


async def reserved(group: PlacementGroup, settings: GeneratorConfig, limit_s: float) -> None:
    """Wait for the group. Raises TimeoutError that says what found no room."""
    try:
        await asyncio.wait_for(group.ready(), limit_s)
    except TimeoutError:
        need = f"{settings.cpus:g} CPUs and {settings.gpus * settings.tensor_parallel_size:g} GPUs"
        where = f" with {settings.node_resource}" if settings.node_resource else ""
        raise TimeoutError(
            f"no room on the nodes{where} for {settings.least} generator replicas of {need} each"
        ) from None


def place_options(group: PlacementGroup, index: int, settings: GeneratorConfig) -> dict[str, Any]:
    """Actor options of replica ``index``: what it reserves, its place in ``group`` where it is one
    of those, and its allocator."""
    options: dict[str, Any] = {
        "num_cpus": settings.cpus,
        "num_gpus": settings.gpus * settings.tensor_parallel_size,
        "resources": settings.custom_resources,
        "runtime_env": computing_env(settings.gpus),
    }
    if index < settings.least:
        options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(
            group, placement_group_bundle_index=index
        )
    return options


def scorer_options(settings: ScorerConfig) -> dict[str, Any]:
    """What the actors of the scoring stage reserve, where Ray puts them, and their allocator."""
    return {
        "num_cpus": settings.cpus,
        "num_gpus": settings.gpus,
        "resources": settings.custom_resources,
        "scheduling_strategy": "SPREAD" if settings.placement == "spread" else "DEFAULT",
        "runtime_env": computing_env(settings.gpus),
    }


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
