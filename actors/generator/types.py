"""Types: plain data that passes between the generators and those who ask them."""

from __future__ import annotations

from dataclasses import dataclass


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
class Request:
    """One completion to sample. ``key`` is unique within the run."""

    key: str
    prompt_ids: list[int]
    sampling: Sampling


@dataclass(frozen=True)
class EngineOutput:
    """Sampled ids with the log-prob of each (temperature 1, whole vocabulary) and why sampling
    ended."""

    token_ids: list[int]
    logprobs: list[float]
    finish_reason: str


@dataclass(frozen=True)
class ReplicaReport:
    """The state of a replica's engine: the version it serves, with the checksum of the weights it
    loaded, and the work it has done."""

    replica: int
    version: int
    checksum: str
    tokens: int
    """Sampled so far."""
    busy_seconds: float
    """Time in which at least one request was running."""
    peak_memory: int = 0
    """Bytes of main memory, of the actor and its engine together."""
    progress: int = 0
    """Engine steps so far."""
    running: int = 0
    """Requests that wait for an engine step."""
