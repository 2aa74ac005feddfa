"""Accuracy through the generator pool: the same engines that produce rollouts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import ray
from transformers import PreTrainedTokenizerBase

from actors.engine import Sampling
from actors.messages import Request
from unisd_core.evaluation.accuracy import AccuracyResult, score_completions
from unisd_core.tasks.base import Row, Task

GROUP = 32
"""Requests sent to one replica at a time."""

_keys = itertools.count()


def complete(
    pool: Any, prompts: Sequence[list[int]], sampling: Sampling, tokenizer: PreTrainedTokenizerBase
) -> list[str]:
    """One completion as text for every prompt, in order, spread over the replicas."""
    requests = [Request(f"evaluate/{next(_keys)}", list(ids), sampling) for ids in prompts]
    groups = [
        pool.generate.remote(requests[start : start + GROUP])
        for start in range(0, len(requests), GROUP)
    ]
    done = [sampled for group in ray.get(groups) for sampled in group]
    return tokenizer.batch_decode([sampled.token_ids for sampled in done], skip_special_tokens=True)


def greedy(max_tokens: int, stop_token_ids: tuple[int, ...]) -> Sampling:
    """Deterministic decoding, as the paper evaluates."""
    return Sampling(0.0, 1.0, max_tokens, None, stop_token_ids)


def evaluate(
    pool: Any,
    task: Task,
    rows: Sequence[Row],
    prompts: Sequence[list[int]],
    sampling: Sampling,
    tokenizer: PreTrainedTokenizerBase,
) -> AccuracyResult:
    """Accuracy of the completions of ``prompts``, one per row."""
    return score_completions(task, rows, complete(pool, prompts, sampling, tokenizer))
