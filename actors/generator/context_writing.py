"""Texts written by the generator pool for contexts and wrong references, before training starts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from actors.fleet import Fleet
from actors.generator.engine import Sampling
from actors.generator.evaluator import sample
from pipelines.training.setup import Workbench
from unisd_core.models.completion_cache import TextCache
from unisd_core.views.writing import Writing, Written


def pool_writing(bench: Workbench, fleet: Fleet) -> Writing:
    """The base model in the generators as a writer, with the cache on disk."""
    fleet.wait_ready()

    def write(
        prompts: Sequence[str], *, temperature: float, max_tokens: int, seeds: Sequence[int]
    ) -> list[Written]:
        stops = bench.model.stop_token_ids
        done = list(
            sample(
                fleet.pool,
                [bench.builder.user_turn(prompt) for prompt in prompts],
                [Sampling(temperature, 1.0, max_tokens, seed, stops) for seed in seeds],
                in_flight=bench.config.generator.groups_in_flight,
            )
        )
        texts = bench.model.tokenizer.batch_decode(
            [sampled.token_ids for sampled in done], skip_special_tokens=True
        )
        return [
            Written(text.strip(), sampled.finish_reason == "stop")
            for text, sampled in zip(texts, done, strict=True)
        ]

    template = hashlib.sha256(str(bench.model.tokenizer.chat_template).encode()).hexdigest()
    return Writing(write, f"{bench.model.weights}/{template}", TextCache())
