"""Perplexities as a Ray task: base and trained weights read texts, one base for both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from peft import PeftModel

from actors.runtime.calls import get_with_timeout
from actors.weights.buckets import unpack
from actors.weights.update import WeightUpdate
from unisd_core.common.process import stage_device, use_threads
from unisd_core.config.run import Config
from unisd_core.evaluation.forward_pass import ForwardPass
from unisd_core.evaluation.text_scores import TextScores, score_texts
from unisd_core.evaluation.texts import PromptCompletion, TextLimits
from unisd_core.models.load import load_base
from unisd_core.models.trained_weights import load_trained_state, make_trainable

LIMIT_S = 7200.0
"""Longest wait for all texts."""


@dataclass(frozen=True)
class TestSetTexts:
    """What is read of one test set: references, the model's answers, the baseline's."""

    gold: list[PromptCompletion]
    own: list[PromptCompletion]
    others: list[PromptCompletion] | None


def measure_perplexity(
    config: Config,
    model_dir: Path,
    base_dir: Path | None,
    trained: WeightUpdate | None,
    sets: dict[str, TestSetTexts],
) -> dict[str, TextScores]:
    """Score every set with the resources of one scorer.

    The model is ``model_dir`` with the adapter ``trained`` where there is one; a whole trained
    model is compared with ``base_dir``, and one without base with itself.
    """
    scorer = config.scorer
    task = ray.remote(_score).options(num_cpus=scorer.cpus, num_gpus=scorer.gpus)
    reference = task.remote(config, model_dir, base_dir, trained, sets)
    return dict(get_with_timeout(reference, "the reading of texts", LIMIT_S))


def _score(
    config: Config,
    model_dir: Path,
    base_dir: Path | None,
    trained: WeightUpdate | None,
    sets: dict[str, TestSetTexts],
) -> dict[str, TextScores]:
    use_threads(config.scorer.threads)
    device = stage_device(config.scorer.gpus)
    model: Any = load_base(model_dir, config.model.dtype)
    if trained is not None:
        model = make_trainable(model, config)
        load_trained_state(model, unpack(trained))
    model = model.to(device).eval()
    base = ForwardPass.of_base(model) if isinstance(model, PeftModel) else None
    if base_dir is not None:
        base = ForwardPass.of(load_base(base_dir, config.model.dtype).to(device).eval())
    limits = TextLimits(config.scorer.batch_tokens, config.objective.chunk_tokens)
    settings = {"resamples": config.evaluation.bootstrap, "seed": config.seed}
    trained_model = ForwardPass.of(model)
    return {
        name: score_texts(
            trained_model, base, texts.gold, texts.own, texts.others, limits=limits, **settings
        )
        for name, texts in sets.items()
    }
