"""Metrics of the objective as sums that add over micro-batches and ranks.

``token_sums`` makes them, ``add_metrics`` combines them (every key adds, except that keys ending in
``_min`` take the smaller), ``finalise_metrics`` turns the total into means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from unisd_core.objective.importance import ImportanceWeights


def token_sums(
    *,
    loss: Tensor,
    parts: Mapping[str, Tensor],
    unweighted: Mapping[str, Tensor],
    per_token: Mapping[str, Tensor],
    student_logprob_N: Tensor,
    agreement_weight_N: Tensor,
    has_negative_N: Tensor,
    behaviour_logprob_N: Tensor,
    same_version_N: Tensor,
    stale_N: Tensor | None = None,
    importance: ImportanceWeights | None = None,
) -> dict[str, float]:
    """Sums and counts of one micro-batch of N tokens, as plain floats.

    ``parts`` are the scalar terms of the loss, ``unweighted`` the same without any weight,
    ``per_token`` values of shape (N,) whose mean over tokens is wanted. ``importance`` is given
    with ``stale_N`` where the correction is on. One transfer from the device, not one per metric.
    """
    weight_N = agreement_weight_N.detach().double()
    gap_N = (student_logprob_N.detach() - behaviour_logprob_N).abs()
    sums = {
        "loss": loss,
        "non_finite": ~loss.isfinite(),
        "tokens": torch.ones_like(weight_N).sum(),
        "student_logprob": student_logprob_N.sum(dtype=torch.float64),
        "weight": weight_N.sum(),
        "weight_squared": weight_N.square().sum(),
        "negative_tokens": has_negative_N.sum(),
        "same_version_tokens": same_version_N.sum(),
        "engine_learner_logprob_gap": gap_N[same_version_N].sum(dtype=torch.float64),
    }
    sums |= {f"loss_{name}": part for name, part in parts.items()}
    sums |= {f"loss_{name}_unweighted": part for name, part in unweighted.items()}
    sums |= {name: value_N.sum(dtype=torch.float64) for name, value_N in per_token.items()}
    if "divergence" in per_token:
        sums["weighted_divergence"] = (weight_N * per_token["divergence"].detach()).sum()
    if importance is not None and stale_N is not None:
        sums["stale_tokens"] = stale_N.sum()
        sums["importance"] = importance.weight_N[stale_N].sum(dtype=torch.float64)
        sums["importance_capped"] = importance.capped_N[stale_N].sum()
    if len(weight_N):
        sums["weight_min"] = weight_N.min()
    values = torch.stack([value.detach().double() for value in sums.values()]).tolist()
    return dict(zip(sums, values, strict=True))


def add_metrics(*parts: Mapping[str, float]) -> dict[str, float]:
    """Total of the sums of several micro-batches or ranks."""
    total: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            if name not in total:
                total[name] = value
            elif name.endswith("_min"):
                total[name] = min(total[name], value)
            else:
                total[name] += value
    return total


def finalise_metrics(sums: Mapping[str, float]) -> dict[str, float]:
    """Means and fractions from the total over a global batch.

    ``loss`` and its parts are those of the batch, parts with their weights; beside each stands
    ``loss_<term>_unweighted``, the term with its factor and all agreement and importance weights
    at 1. Means are per token, those of ``importance_*`` over tokens of an older version;
    ``agreement_*`` describe token weight times row weight; ``engine_learner_logprob_gap`` is the
    mean absolute difference in nats over tokens of the current version. What was not computed, or
    was counted over nothing, is left out. ``non_finite`` counts micro-batches whose loss was not
    finite; above 0 the batch must not be stepped on.
    """
    tokens = sums["tokens"]
    result = {name: sums[name] for name in ("loss", "non_finite", "tokens")}
    result |= {name: value for name, value in sums.items() if name.startswith("loss_")}
    if not tokens:
        return result
    result["student_logprob"] = sums["student_logprob"] / tokens
    mean = sums["weight"] / tokens
    result["agreement_weight_mean"] = mean
    result["agreement_weight_min"] = sums["weight_min"]
    variance = sums["weight_squared"] / tokens - mean * mean
    result["agreement_spread"] = math.sqrt(max(0.0, variance))
    if "divergence" in sums:
        result["divergence_unweighted"] = sums["divergence"] / tokens
        result["clipped_fraction"] = sums["clipped"] / tokens
        if sums["weight"]:
            result["divergence_weighted"] = sums["weighted_divergence"] / sums["weight"]
    if "contrastive_active" in sums and sums["negative_tokens"]:
        result["contrastive_active_fraction"] = sums["contrastive_active"] / sums["negative_tokens"]
    for name in ("feature_distance", "cross_entropy", "topk_mass"):
        if name in sums:
            result[name] = sums[name] / tokens
    if sums.get("stale_tokens"):
        result["importance_mean"] = sums["importance"] / sums["stale_tokens"]
        result["importance_capped_fraction"] = sums["importance_capped"] / sums["stale_tokens"]
    if sums["same_version_tokens"]:
        result["engine_learner_logprob_gap"] = (
            sums["engine_learner_logprob_gap"] / sums["same_version_tokens"]
        )
    return result
