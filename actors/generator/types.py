"""What actors say to each other. Plain data, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from actors.generator.engine import Sampling


@dataclass(frozen=True)
class Request:
    """One completion to sample. ``key`` is unique within the run."""

    key: str
    prompt_ids: list[int]
    sampling: Sampling


@dataclass(frozen=True)
class Sampled:
    """A completion with the policy versions it was sampled under.

    ``version_first`` and ``version_last`` differ only where weights were replaced in place
    while the request ran; the row counts as old as the first. ``began`` and ``ended`` are Unix
    times, None where nobody sampled.
    """

    token_ids: list[int]
    logprobs: list[float]
    finish_reason: str
    version_first: int
    version_last: int
    replica: int
    began: float | None = None
    ended: float | None = None


@dataclass(frozen=True)
class Probe:
    """Token ids, and the log-prob that the learner gives to each but the first."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]


@dataclass(frozen=True)
class WeightUpdate:
    """A policy version: its trained weights in buckets (``actors/weights/buckets.py``) or
    references to them, their checksum and size in bytes, and what an engine that serves them
    must compute."""

    version: int
    buckets: tuple[Any, ...]
    checksum: str
    size: int = 0
    probe: Probe | None = None


@dataclass(frozen=True)
class ReplicaReport:
    """What a replica says of itself: the version it serves, the checksum of what it loaded, its
    work so far, the peak of its main memory (actor and engine) in bytes, the steps its engine has
    made, and the requests that wait for one."""

    replica: int
    version: int
    checksum: str
    tokens: int
    busy_seconds: float
    peak_memory: int = 0
    progress: int = 0
    running: int = 0
