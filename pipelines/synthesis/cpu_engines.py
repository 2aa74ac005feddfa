"""Engines of a data synthesis on a machine without GPUs."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from unisd_core.common.process import usable_cores
from unisd_core.config.run import Config
from unisd_core.config.stages import GeneratorConfig
from unisd_core.models.fetch import weight_files

ENGINES = 2
"""Each with its share of the cores: their threads wait less for one another than those of one
engine, and hardly for what else runs on the machine."""
WEIGHTS = 3
"""Times the size of the weights that an engine holds at most, while it packs them."""
LIBRARIES = 2 * 2**30
"""Bytes of an engine's processes without weights and cache."""


def with_more_engines(config: Config, model_dir: Path) -> Config:
    """``config`` with two engines in place of one, where nothing was said of their number or
    threads, they run on this machine, and its memory holds twice what each needs."""
    given = config.generator
    chosen = (given.replicas, given.most, given.threads, given.gpus) != (1, 1, 0, 0)
    if chosen or os.environ.get("RAY_ADDRESS") or usable_cores() < ENGINES:
        return config
    if psutil.virtual_memory().available < 2 * ENGINES * _memory(given, model_dir):
        return config
    threads = usable_cores() // ENGINES
    generator = given.model_copy(update={"replicas": ENGINES, "threads": threads})
    return config.model_copy(update={"generator": generator})


def _memory(settings: GeneratorConfig, model_dir: Path) -> int:
    weights = sum(path.stat().st_size for path in weight_files(model_dir))
    return int(WEIGHTS * weights + settings.kv_cache_gib * 2**30 + LIBRARIES)
