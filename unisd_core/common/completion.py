"""Completion: the tokens that a policy sampled after one prompt."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Completion:
    """Sampled tokens, with the policy versions that they were sampled under.

    ``version_first`` and ``version_last`` differ only where weights were replaced in place
    while the request ran; the row counts as old as the first. ``began`` and ``ended`` are Unix
    times, None where nobody sampled.
    """

    token_ids: list[int]
    logprobs: list[float]
    """Of each token in nats, at temperature 1 over the whole vocabulary."""
    finish_reason: str
    """"stop", or "length" where the token limit ended it."""
    version_first: int
    version_last: int
    replica: int
    began: float | None = None
    ended: float | None = None
