"""Answers of one model to prompts, read back where the same weights gave them before."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from actors.generator.engine import Sampling
from actors.generator.evaluator import sample
from actors.generator.types import Sampled
from unisd_core.models.completion_cache import TextCache, Written, text_key


class Predictor:
    """Completions of policy version ``version`` in ``pool``.

    ``weights`` is a digest of everything that computes: an answer is kept under it, the token
    ids of the prompt and the decoding settings, and only read back when all are equal. None keeps
    nothing. Each answer is kept as it arrives, so that an interrupted evaluation goes on where it
    stopped.
    """

    def __init__(
        self,
        pool: Any,
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
