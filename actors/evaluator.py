"""Completions for evaluation, through the same engines that produce rollouts."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from actors.calls import ask
from actors.engine import Sampling
from actors.messages import Request, Sampled

GROUP = 32
"""Requests sent to one replica at a time."""

LIMIT_S = 7200.0
"""Longest wait for one group; each replica's own limit is generator.timeout_s."""

_keys = itertools.count()


def complete(
    pool: Any,
    prompts: Sequence[list[int]],
    sampling: Sampling,
    tokenizer: PreTrainedTokenizerBase,
    version: int = 0,
    in_flight: int = 2,
) -> list[str]:
    """One completion as text for every prompt, in order, spread over replicas of ``version``.

    ``in_flight`` groups of requests are under way at a time; two per replica keep all busy.
    """
    requests = [Request(f"evaluate/{next(_keys)}", list(ids), sampling) for ids in prompts]
    waiting: deque[Any] = deque()
    done: list[Sampled] = []
    for start in range(0, len(requests), GROUP):
        # A replica's time limit counts from the call, so little may queue inside a replica.
        if len(waiting) == in_flight:
            done += ask(waiting.popleft(), "the generator pool", LIMIT_S)
        waiting.append(pool.generate.remote(requests[start : start + GROUP], version))
    for group in waiting:
        done += ask(group, "the generator pool", LIMIT_S)
    return tokenizer.batch_decode([sampled.token_ids for sampled in done], skip_special_tokens=True)


def greedy(max_tokens: int, stop_token_ids: tuple[int, ...]) -> Sampling:
    """Deterministic decoding, as the paper evaluates."""
    return Sampling(0.0, 1.0, max_tokens, None, stop_token_ids)
