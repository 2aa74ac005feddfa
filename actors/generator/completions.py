"""Completions outside the stream, for evaluation, validation and contexts.

The engines that produce rollouts answer these requests too. Answers that the same weights gave
before come from disk.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from actors.generator.pool import PoolClient
from actors.generator.types import Request, Sampling
from unisd_core.common.completion import Completion
from unisd_core.common.thoughts import after_thought
from unisd_core.config.run import Config
from unisd_core.models.completion_cache import CompletionText, TextCache, text_key
from unisd_core.models.model_files import ModelFiles
from unisd_core.views.builder import ViewBuilder
from unisd_core.views.writing import Writing

GROUP = 32
"""Requests sent to one replica at a time."""
LIMIT_S = 7200.0
"""Longest wait for one group; each replica's own limit is generator.timeout_s."""
_keys = itertools.count()

if TYPE_CHECKING:
    from unisd_core.models.chat.chat import Chat


def rollout_sampling(config: Config, stop_token_ids: tuple[int, ...]) -> Sampling:
    """Decoding settings of rollouts; the seed differs from rollout to rollout."""
    rollout = config.rollout
    return Sampling(
        rollout.temperature,
        rollout.top_p,
        rollout.max_completion_length,
        None,
        stop_token_ids,
        rollout.top_k,
    )


def greedy_sampling(max_tokens: int, stop_token_ids: tuple[int, ...]) -> Sampling:
    """Decoding settings of evaluations: deterministic, as in the paper."""
    return Sampling(0.0, 1.0, max_tokens, None, stop_token_ids)


def sample(
    pool: PoolClient,
    prompts: Sequence[list[int]],
    samplings: Sequence[Sampling],
    version: int = 0,
    in_flight: int = 2,
) -> Iterator[Completion]:
    """Yield one completion for every prompt, in order and as they arrive.

    Each prompt has its own decoding settings. Replicas of ``version`` or newer answer.
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


def as_text(chat: Chat, completion: Completion) -> CompletionText:
    """The text of a completion, and whether it ended by itself."""
    return CompletionText(chat.text(completion.token_ids), completion.finish_reason == "stop")


class CachedCompletions:
    """Texts that policy version ``version`` in ``pool`` writes, kept on disk.

    ``weights`` is a digest of everything that computes. A text is kept under it, the token ids of
    the prompt and the decoding settings, and is used again only when all are equal; None keeps
    nothing. Each text is kept as it arrives, so that an interrupted evaluation resumes where it
    stopped.
    """

    def __init__(
        self,
        pool: PoolClient,
        chat: Chat,
        weights: str | None,
        *,
        version: int = 0,
        in_flight: int = 2,
        cache: TextCache | None = None,
    ) -> None:
        self.pool, self.chat, self.weights = pool, chat, weights
        self.version, self.in_flight = version, in_flight
        self.cache = cache or TextCache()

    def complete(
        self, prompts: Sequence[list[int]], samplings: Sequence[Sampling]
    ) -> list[CompletionText]:
        """One text for every prompt under its own decoding settings, in order."""
        keys = [self._key(*asked) for asked in zip(prompts, samplings, strict=True)]
        found = [self.cache.get(key) if key else None for key in keys]
        missing = [index for index, text in enumerate(found) if text is None]
        arriving = sample(
            self.pool,
            [prompts[index] for index in missing],
            [samplings[index] for index in missing],
            self.version,
            self.in_flight,
        )
        for index, completion in zip(missing, arriving, strict=True):
            text = as_text(self.chat, completion)
            key = keys[index]
            if key:
                self.cache.put(key, text)
            found[index] = text
        return [text for text in found if text is not None]

    def _key(self, prompt_ids: Sequence[int], sampling: Sampling) -> str | None:
        if self.weights is None:
            return None
        return text_key(
            {
                "kind": "answer/2",
                "weights": self.weights,
                "prompt_ids": list(prompt_ids),
                "sampling": dataclasses.asdict(sampling),
            }
        )


def pool_writing(
    pool: PoolClient, model: ModelFiles, builder: ViewBuilder, in_flight: int
) -> Writing:
    """The base model in ``pool`` as the writer of contexts and wrong references, with the cache on
    disk. The replicas must be ready."""

    def write(
        prompts: Sequence[str], *, temperature: float, max_tokens: int, seeds: Sequence[int]
    ) -> list[CompletionText]:
        stops = model.stop_token_ids
        completions = sample(
            pool,
            [builder.user_turn(prompt) for prompt in prompts],
            [Sampling(temperature, 1.0, max_tokens, seed, stops) for seed in seeds],
            in_flight=in_flight,
        )
        written = [as_text(model.chat, completion) for completion in completions]
        return [dataclasses.replace(one, text=after_thought(one.text).strip()) for one in written]

    return Writing(write, f"{model.weights}/{model.chat.digest}", TextCache())
