"""The objective: the sum of terms over a micro-batch, as its share of the global batch's loss.

Each term is a mean over a row's tokens, then a sum over rows divided by the size B of the
*global* batch. Losses of micro-batches and ranks therefore add up to the loss of the whole
batch, however its rows are dealt out, as long as no row is split. (A wrapper that averages
gradients over W ranks needs the loss times W.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unisd_core.config import Objective
from unisd_core.objective.contrastive import contrastive_hinge
from unisd_core.objective.divergence import (
    TokenTerms,
    linear_divergence,
    linear_logprob,
    sampled_logprobs,
)
from unisd_core.objective.features import feature_distance
from unisd_core.objective.metrics import token_sums

SMALLEST_WEIGHT_SUM = 1e-8


@dataclass(frozen=True)
class MicroBatch:
    """Completion tokens of R whole rows, flattened to N; the order of tokens is free."""

    student_hidden_NH: Tensor
    """Final hidden states at the positions that predict ``token_N``; carries the gradient."""
    teacher_hidden_NH: Tensor
    """Same positions, read by the teacher with the reference in context."""
    token_N: Tensor
    """int64 ids of the sampled tokens."""
    row_N: Tensor
    """int64 row of each token, in [0, R)."""
    token_weight_N: Tensor
    """Agreement weight of each token."""
    sequence_weight_R: Tensor
    """Agreement weight of each row, mean 1 over the global batch."""
    negative_logprob_N: Tensor
    """Sampled-token log-prob under the negative view; any value where there is none."""
    has_negative_N: Tensor
    """bool: the row has a negative view."""
    behaviour_logprob_N: Tensor
    """Log-prob the engine reported when it sampled the token; any value where unknown."""
    same_version_N: Tensor
    """bool: sampled by the very weights being trained, so that engine and learner should agree."""
    global_rows: int
    """B, rows of the global batch over all micro-batches and ranks."""
    teacher_head_VH: Tensor | None = None
    """LM head that belongs to ``teacher_hidden_NH``; None where it is the student's own."""


@dataclass(frozen=True)
class ObjectiveOutput:
    loss: Tensor
    """Scalar share of the global batch's loss, in nats."""
    metrics: dict[str, float]
    """Sums and counts; see ``unisd_core.objective.metrics``."""


def objective(batch: MicroBatch, head_VH: Tensor, config: Objective) -> ObjectiveOutput:
    """Weighted divergence + contrast + features of one micro-batch (paper, Eq. 1).

        (1/B) sum_r s_r * sum_t w_t D_t / max(eps, sum_t w_t)       times divergence.weight
      + (1/B) sum_r mean_t hinge_t                                 times contrastive.weight
      + (1/B) sum_r mean_t F_t                                     times features.weight

    Terms of weight 0 are not computed. A loss that is not finite is returned as it is, and
    counted in the metric ``non_finite``. Raises ValueError on shapes that do not fit.
    """
    terms = _token_terms(batch, head_VH, config)
    loss = terms.student_logprob_N.new_zeros(())
    parts: dict[str, Tensor] = {}
    per_token: dict[str, Tensor] = {}

    if config.divergence.weight:
        weight_N = batch.token_weight_N.to(loss.dtype)
        row_R = _row_sum(batch, weight_N * terms.divergence_N)
        row_R = row_R / _row_sum(batch, weight_N).clamp(min=SMALLEST_WEIGHT_SUM)
        row_R = row_R * batch.sequence_weight_R.to(loss.dtype)
        parts["divergence"] = config.divergence.weight * row_R.sum() / batch.global_rows
        per_token["divergence"] = terms.divergence_N
        per_token["clipped"] = terms.clipped_N
    if config.contrastive.weight:
        hinge_N, active_N = contrastive_hinge(
            terms.student_logprob_N,
            terms.teacher_logprob_N,
            batch.negative_logprob_N,
            config.contrastive.margin,
            batch.has_negative_N,
        )
        parts["contrastive"] = config.contrastive.weight * _mean_of_rows(batch, hinge_N)
        per_token["contrastive_active"] = active_N
    if config.features.weight:
        distance_N = feature_distance(batch.student_hidden_NH, batch.teacher_hidden_NH)
        parts["features"] = config.features.weight * _mean_of_rows(batch, distance_N)
        per_token["feature_distance"] = distance_N

    for part in parts.values():
        loss = loss + part
    sums = token_sums(
        loss=loss,
        parts=parts,
        per_token=per_token,
        student_logprob_N=terms.student_logprob_N,
        agreement_weight_N=batch.token_weight_N * batch.sequence_weight_R[batch.row_N],
        has_negative_N=batch.has_negative_N,
        behaviour_logprob_N=batch.behaviour_logprob_N,
        same_version_N=batch.same_version_N,
    )
    return ObjectiveOutput(loss, sums)


def _token_terms(batch: MicroBatch, head_VH: Tensor, config: Objective) -> TokenTerms:
    """Vocabulary-sized work, reduced to what the switched-on terms need."""
    contrast = config.contrastive.weight > 0
    if config.divergence.weight:
        return linear_divergence(
            batch.student_hidden_NH,
            batch.teacher_hidden_NH,
            head_VH,
            batch.token_N,
            alpha=config.divergence.alpha,
            temperature=config.divergence.temperature,
            clip=config.divergence.clip,
            teacher_head_VH=batch.teacher_head_VH,
            chunk_tokens=config.chunk_tokens,
            logprob_grad=contrast,
        )
    # The student's log-prob is read even without contrast: its gap to the engine's is
    # the health check of the run.
    logprob = linear_logprob if contrast else sampled_logprobs
    student_N = logprob(batch.student_hidden_NH, head_VH, batch.token_N, config.chunk_tokens)
    teacher_N = torch.zeros_like(student_N)
    if contrast:
        teacher_head_VH = head_VH if batch.teacher_head_VH is None else batch.teacher_head_VH
        teacher_N = sampled_logprobs(
            batch.teacher_hidden_NH, teacher_head_VH, batch.token_N, config.chunk_tokens
        )
    no_divergence_N = torch.zeros_like(student_N)
    return TokenTerms(no_divergence_N, student_N, teacher_N, no_divergence_N.bool())


def _row_sum(batch: MicroBatch, value_N: Tensor) -> Tensor:
    rows_R = value_N.new_zeros(len(batch.sequence_weight_R))
    return rows_R.index_add(0, batch.row_N, value_N)


def _mean_of_rows(batch: MicroBatch, value_N: Tensor) -> Tensor:
    """(1/B) sum over rows of the mean over the row's tokens."""
    tokens_R = _row_sum(batch, torch.ones_like(value_N)).clamp(min=1.0)
    return (_row_sum(batch, value_N) / tokens_R).sum() / batch.global_rows
