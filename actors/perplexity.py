"""Perplexity task: a Ray task that scores texts under the trained and the base model, which share
one copy of the base weights where they can.
"""

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
class TextsToScore:
    """The texts of one test set, each after its prompt."""

    gold: list[PromptCompletion]
    """The references."""
    own: list[PromptCompletion]
    """The model's answers."""
    others: list[PromptCompletion] | None
    """The baseline's answers, where there is a baseline."""


def score_test_sets(
    config: Config,
    model_dir: Path,
    base_dir: Path | None,
    trained: WeightUpdate | None,
    sets: dict[str, TextsToScore],
) -> dict[str, TextScores]:
    """Score the texts of every test set with the resources of one scorer.

    The model is ``model_dir`` with the adapter ``trained``, if given, and its base is the same
    without the adapter. A model that was trained as a whole is compared with ``base_dir``; without
    one, with itself. Raises TimeoutError after LIMIT_S seconds.
    """
    scorer = config.scorer
    task: Any = ray.remote(_score_test_sets)
    task = task.options(num_cpus=scorer.cpus, num_gpus=scorer.gpus)
    reference = task.remote(config, model_dir, base_dir, trained, sets)
    return dict(get_with_timeout(reference, "the scoring of texts", LIMIT_S))


def _score_test_sets(
    config: Config,
    model_dir: Path,
    base_dir: Path | None,
    trained: WeightUpdate | None,
    sets: dict[str, TextsToScore],
) -> dict[str, TextScores]:
    use_threads(config.scorer.threads)
    device = stage_device(config.scorer.gpus)
    model: Any = load_base(model_dir, config.model.dtype, device)
    if trained is not None:
        model = make_trainable(model, config)
        load_trained_state(model, unpack(trained))
    model = model.to(device).eval()
    base = ForwardPass.of_base(model) if isinstance(model, PeftModel) else None
    if base_dir is not None:
        base = ForwardPass.of(load_base(base_dir, config.model.dtype, device))
    limits = TextLimits(config.scorer.batch_tokens, config.objective.chunk_tokens)
    settings = {"resamples": config.evaluation.bootstrap, "seed": config.seed}
    trained_model = ForwardPass.of(model)
    return {
        name: score_texts(
            trained_model, base, texts.gold, texts.own, texts.others, limits=limits, **settings
        )
        for name, texts in sets.items()
    }
