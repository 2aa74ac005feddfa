"""Perplexities of one model on one test set, and its distance to the base it was trained from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from unisd_core.common.text_table import columns
from unisd_core.config.base import FrozenModel
from unisd_core.evaluation.forward_pass import ForwardPass
from unisd_core.evaluation.model_distance import model_distance
from unisd_core.evaluation.perplexity import Perplexity, gold_fit, retention
from unisd_core.evaluation.scoreboard import Estimate
from unisd_core.evaluation.texts import PromptCompletion, TextLimits


class TextScores(FrozenModel):
    """All but the counts are means over tokens with 95 % bootstrap intervals over rows."""

    gold_fit: Estimate
    """PPLfit: the references under the model."""
    retention: Estimate
    """PPLret: the model's own answers under the base model."""
    retention_over_rows: float
    """Mean of the rows' own perplexities, as in the released code."""
    distance: Estimate
    """Jensen-Shannon divergence to the base on the model's own answers, in nats."""
    reverse: Estimate | None
    """The baseline's answers under the model; None without a baseline."""
    empty_answers: int
    """Answers without a token, which have no retention."""


def score_texts(
    trained: ForwardPass,
    base: ForwardPass | None,
    gold: Sequence[PromptCompletion],
    own: Sequence[PromptCompletion],
    others: Sequence[PromptCompletion] | None,
    *,
    limits: TextLimits | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> TextScores:
    """Read references, the model's ``own`` answers and the baseline's (``others``).

    ``base`` None means that the model is the base itself: the distance is 0 then.
    """

    def estimate(of: Perplexity) -> Estimate:
        low, high = of.interval(resamples, seed)
        return Estimate(value=of.over_tokens, low=low, high=high)

    if base is None:
        kept = retention(trained, own, limits)
        distance = Estimate(value=0.0, low=0.0, high=0.0)
    else:
        both = model_distance(trained, base, own, limits)
        kept = both.base
        low, high = both.jsd.interval(resamples, seed)
        distance = Estimate(value=both.jsd.mean, low=low, high=high)
    return TextScores(
        gold_fit=estimate(gold_fit(trained, gold, limits)),
        retention=estimate(kept),
        retention_over_rows=kept.over_rows,
        distance=distance,
        reverse=estimate(retention(trained, others, limits)) if others else None,
        empty_answers=kept.left_out.empty,
    )


def render_texts(scores: Mapping[str, TextScores]) -> str:
    """The scores as a table; perplexities are over tokens."""
    interval = "95 % interval"
    lines = [["test set", "gold PPL", interval, "retention PPL", interval, "JSD to base, nats"]]
    reverse = any(score.reverse for score in scores.values())
    lines[0] += ["baseline's answers, PPL"] if reverse else []
    for name, score in scores.items():
        line = [name, *_shown(score.gold_fit), *_shown(score.retention)]
        line.append(f"{score.distance.value:.4f}")
        if reverse:
            line.append(f"{score.reverse.value:.2f}" if score.reverse else "")
        lines.append(line)
    return columns(lines)


def _shown(estimate: Estimate) -> list[str]:
    form: Callable[[float], str] = "{:.2f}".format
    return [form(estimate.value), f"[{form(estimate.low)}, {form(estimate.high)}]"]
