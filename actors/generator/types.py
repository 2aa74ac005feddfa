"""Messages between actors. Plain data, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass


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


@dataclass(frozen=True)
class Sampling:
    """Decoding settings of one request; temperature 0 is greedy."""

    temperature: float
    top_p: float
    max_tokens: int
    seed: int | None
    stop_token_ids: tuple[int, ...]
    top_k: int = 0
    """Most likely tokens kept; 0 keeps all."""


@dataclass(frozen=True)
class Completion:
    """Sampled ids with the log-prob of each (temperature 1, whole vocabulary) and why sampling
    ended."""

    token_ids: list[int]
    logprobs: list[float]
    finish_reason: str
