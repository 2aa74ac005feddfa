"""Completions for evaluation, through the same engines that produce rollouts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from actors.calls import ask
from actors.engine import Sampling
from actors.messages import Request

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
) -> list[str]:
    """One completion as text for every prompt, in order, spread over replicas of ``version``."""
    requests = [Request(f"evaluate/{next(_keys)}", list(ids), sampling) for ids in prompts]
    groups = [
        pool.generate.remote(requests[start : start + GROUP], version)
        for start in range(0, len(requests), GROUP)
    ]
    done = [sampled for group in groups for sampled in ask(group, "the generator pool", LIMIT_S)]
    return tokenizer.batch_decode([sampled.token_ids for sampled in done], skip_special_tokens=True)


def greedy(max_tokens: int, stop_token_ids: tuple[int, ...]) -> Sampling:
    """Deterministic decoding, as the paper evaluates."""
    return Sampling(0.0, 1.0, max_tokens, None, stop_token_ids)
