"""Weight update: a policy version to push, with the probe that tells whether an engine has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Probe:
    """Token ids, and the log-prob that the learner gives to each but the first."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]


@dataclass(frozen=True)
class WeightUpdate:
    """A policy version: its trained weights in buckets (``buckets.py``) or as references to them,
    their checksum and size in bytes, and what an engine that serves them must compute."""

    version: int
    buckets: tuple[Any, ...]
    checksum: str
    size: int = 0
    probe: Probe | None = None
