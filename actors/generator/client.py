"""Asks the generator pool for completions outside the stream: evaluation, validation, contexts.

The same engines that produce rollouts answer; answers that the same weights gave before are read
back from disk.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from actors.generator.pool import PoolClient
from actors.generator.types import Request, Sampled, Sampling
from unisd_core.config.run import Config
from unisd_core.models.completion_cache import TextCache, Written, text_key
from unisd_core.models.model_files import ModelFiles
from unisd_core.views.builder import ViewBuilder
from unisd_core.views.writing import Writing

GROUP = 32
"""Requests sent to one replica at a time."""
LIMIT_S = 7200.0
"""Longest wait for one group; each replica's own limit is generator.timeout_s."""
_keys = itertools.count()

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Predictor:
    """Completions of policy version ``version`` in ``pool``.

    ``weights`` is a digest of everything that computes: an answer is kept under it, the token
    ids of the prompt and the decoding settings, and only read back when all are equal. None keeps
    nothing. Each answer is kept as it arrives, so that an interrupted evaluation goes on where it
    stopped.
    """

    def __init__(
        self,
        pool: PoolClient,
        tokenizer: PreTrainedTokenizerBase,
        weights: str | None,
        *,
        version: int = 0,
        in_flight: int = 2,
        cache: TextCache | None = None,
    ) -> None:
        self.pool, self.tokenizer, self.weights = pool, tokenizer, weights
        self.version, self.in_flight = version, in_flight
        self.cache = cache or TextCache()

    def complete(
        self, prompts: Sequence[list[int]], samplings: Sequence[Sampling]
    ) -> list[Written]:
        """One answer for every prompt under its own decoding settings, in order; ``finished`` is
        False where the token limit ended it."""
        keys = [self._key(*asked) for asked in zip(prompts, samplings, strict=True)]
        found = [self.cache.get(key) if key else None for key in keys]
        missing = [index for index, answer in enumerate(found) if answer is None]
        arriving = sample(
            self.pool,
            [prompts[index] for index in missing],
            [samplings[index] for index in missing],
            self.version,
            self.in_flight,
        )
        for index, sampled in zip(missing, arriving, strict=True):
            answer = as_text(self.tokenizer, sampled)
            key = keys[index]
            if key:
                self.cache.put(key, answer)
            found[index] = answer
        return [answer for answer in found if answer is not None]

    def _key(self, prompt_ids: Sequence[int], sampling: Sampling) -> str | None:
        if self.weights is None:
            return None
        return text_key(
            {
                "kind": "answer/1",
                "weights": self.weights,
                "prompt_ids": list(prompt_ids),
                "sampling": dataclasses.asdict(sampling),
            }
        )


def as_text(tokenizer: PreTrainedTokenizerBase, sampled: Sampled) -> Written:
    """A completion without its special tokens, and whether it ended by itself."""
    text = tokenizer.decode(sampled.token_ids, skip_special_tokens=True)
    return Written(str(text), sampled.finish_reason == "stop")


def sample(
    pool: PoolClient,
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
            yield from pool.wait(waiting.popleft(), LIMIT_S)
        waiting.append(pool.generate.remote(requests[start : start + GROUP], version))
    for group in waiting:
        yield from pool.wait(group, LIMIT_S)


def rollout_sampling(config: Config, stop_token_ids: tuple[int, ...]) -> Sampling:
    """How rollouts are decoded; each has a seed of its own."""
    rollout = config.rollout
    return Sampling(
        rollout.temperature,
        rollout.top_p,
        rollout.max_completion_length,
        None,
        stop_token_ids,
        rollout.top_k,
    )


def greedy(max_tokens: int, stop_token_ids: tuple[int, ...]) -> Sampling:
    """Deterministic decoding, as the paper evaluates."""
    return Sampling(0.0, 1.0, max_tokens, None, stop_token_ids)


def pool_writing(
    pool: PoolClient, model: ModelFiles, builder: ViewBuilder, in_flight: int
) -> Writing:
    """The base model in the generators as a writer of contexts and wrong references, with the
    cache on disk. The replicas must be ready."""

    def write(
        prompts: Sequence[str], *, temperature: float, max_tokens: int, seeds: Sequence[int]
    ) -> list[Written]:
        stops = model.stop_token_ids
        done = list(
            sample(
                pool,
                [builder.user_turn(prompt) for prompt in prompts],
                [Sampling(temperature, 1.0, max_tokens, seed, stops) for seed in seeds],
                in_flight=in_flight,
            )
        )
        texts = model.tokenizer.batch_decode(
            [sampled.token_ids for sampled in done], skip_special_tokens=True
        )
        return [
            Written(text.strip(), sampled.finish_reason == "stop")
            for text, sampled in zip(texts, done, strict=True)
        ]

    template = hashlib.sha256(str(model.tokenizer.chat_template).encode()).hexdigest()
    return Writing(write, f"{model.weights}/{template}", TextCache())
