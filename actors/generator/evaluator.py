"""Completions outside the stream, through the same engines that produce rollouts."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from actors.generator.engine import Sampling
from actors.generator.types import Request, Sampled
from actors.runtime.calls import ask
from unisd_core.config.method import Config

GROUP = 32
"""Requests sent to one replica at a time."""

LIMIT_S = 7200.0
"""Longest wait for one group; each replica's own limit is generator.timeout_s."""

_keys = itertools.count()


def sample(
    pool: Any,
    prompts: Sequence[list[int]],
    samplings: Sequence[Sampling],
    version: int = 0,
    in_flight: int = 2,
) -> Iterator[Sampled]:
    """One completion for every prompt under its own decoding settings, in order and as they
    arrive, spread over replicas of ``version``.

    ``in_flight`` groups of requests are under way at a time; two per replica keep all busy.
    """
    requests = [
        Request(f"evaluate/{next(_keys)}", list(ids), sampling)
        for ids, sampling in zip(prompts, samplings, strict=True)
    ]
    waiting: deque[Any] = deque()
    for start in range(0, len(requests), GROUP):
        # A replica's time limit counts from the call, so little may queue inside a replica.
        if len(waiting) == in_flight:
            yield from ask(waiting.popleft(), "the generator pool", LIMIT_S)
        waiting.append(pool.generate.remote(requests[start : start + GROUP], version))
    for group in waiting:
        yield from ask(group, "the generator pool", LIMIT_S)


def rollout_sampling(config: Config, stop_token_ids: tuple[int, ...]) -> Sampling:
    """How rollouts are decoded; each has a seed of its own."""
    rollout = config.rollout
    return Sampling(
        rollout.temperature,
        rollout.top_p,
        rollout.max_completion_tokens,
        None,
        stop_token_ids,
        rollout.top_k,
    )


def greedy(max_tokens: int, stop_token_ids: tuple[int, ...]) -> Sampling:
    """Deterministic decoding, as the paper evaluates."""
    return Sampling(0.0, 1.0, max_tokens, None, stop_token_ids)
