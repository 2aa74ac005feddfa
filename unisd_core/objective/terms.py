"""The objective: the sum of terms over a micro-batch, as its share of the global batch's loss.

Each term is reduced over a row's tokens, then summed over rows and divided by the size B of the
*global* batch. Losses of micro-batches and ranks therefore add up to the loss of the whole
batch, however its rows are distributed, as long as no row is split. (A wrapper that averages
gradients over W ranks needs the loss times W.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from unisd_core.config.method import ObjectiveConfig
from unisd_core.objective.contrastive import contrastive_hinge
from unisd_core.objective.divergence import (
    TokenTerms,
    TopK,
    linear_divergence,
    linear_logprob,
    sampled_logprobs,
    topk_divergence,
)
from unisd_core.objective.features import feature_distance
from unisd_core.objective.importance import importance_weights
from unisd_core.objective.metrics import token_sums

SMALLEST_WEIGHT_SUM = 1e-8
"""Lower bound of a row's weight sum, by which its values are divided."""

_ABSENT = cast(Tensor, None)
"""Default of a tensor that ``MicroBatch`` makes itself."""


@dataclass(frozen=True)
class MicroBatch:
    """Completion tokens of R whole rows, flattened to N; the order of tokens is free.

    What is left out becomes what does not matter: weights of 1, no negative view, no importance
    correction.
    """

    student_hidden_NH: Tensor
    """Final hidden states at the positions that predict ``token_N``; carries the gradient."""
    teacher_hidden_NH: Tensor | None
    """Same positions, read by the teacher with the reference in context. None where no term reads
    the teacher or ``teacher_topk`` stands in for it."""
    token_N: Tensor
    """int64 ids of the sampled tokens."""
    row_N: Tensor = _ABSENT
    """int64 row of each token, in [0, R); None: all tokens are of one row."""
    token_weight_N: Tensor = _ABSENT
    """Agreement weight of each token."""
    sequence_weight_R: Tensor = _ABSENT
    """Agreement weight of each row, mean 1 over the global batch."""
    negative_logprob_N: Tensor = _ABSENT
    """Sampled-token log-prob under the negative view; any value where there is none."""
    has_negative_N: Tensor = _ABSENT
    """bool: the row has a negative view; None: all rows, if ``negative_logprob_N`` is given."""
    behaviour_logprob_N: Tensor = _ABSENT
    """Log-prob the engine reported when it sampled the token; any value where unknown."""
    same_version_N: Tensor = _ABSENT
    """bool: sampled by the very weights being trained, so that engine and learner should agree."""
    stale_N: Tensor = _ABSENT
    """bool: sampled by the student under an older version, so that importance correction applies
    and ``behaviour_logprob_N`` is known."""
    clip: float | None = None
    """Bound in nats on one token's divergence now in force; None: off."""
    global_rows: int = 0
    """B, rows of the global batch over all micro-batches and ranks; 0: those of this one."""
    teacher_head_VH: Tensor | None = None
    """LM head that belongs to ``teacher_hidden_NH``; None where it is the student's own."""
    teacher_topk: TopK | None = None
    """The teacher's most likely tokens in place of its hidden states."""
    student_layers_LNH: Tensor | None = None
    """States of ``features.layers`` in that order, with gradient. None where only the final states
    are compared."""
    teacher_layers_LNH: Tensor | None = None
    """The teacher's states of the same layers."""

    def __post_init__(self) -> None:
        def default(name: str, make: Callable[[], Any]) -> None:
            if getattr(self, name) is None:
                object.__setattr__(self, name, make())

        token_N, like_N = self.token_N, self.student_hidden_NH[:, 0].detach()
        none_N = torch.zeros_like(token_N, dtype=torch.bool)
        given = self.negative_logprob_N is not None
        default("row_N", lambda: torch.zeros_like(token_N))
        default("token_weight_N", lambda: torch.ones_like(like_N))
        default("sequence_weight_R", lambda: like_N.new_ones(self._rows()))
        default("negative_logprob_N", lambda: torch.zeros_like(like_N))
        default("has_negative_N", lambda: ~none_N if given else none_N)
        default("behaviour_logprob_N", lambda: torch.zeros_like(like_N))
        default("same_version_N", lambda: none_N)
        default("stale_N", lambda: none_N)
        if not self.global_rows:
            object.__setattr__(self, "global_rows", len(self.sequence_weight_R))

    def _rows(self) -> int:
        return int(self.row_N.max()) + 1 if len(self.row_N) else 0


@dataclass(frozen=True)
class ObjectiveOutput:
    """Loss of a micro-batch, and what was measured on the way."""

    loss: Tensor
    """Scalar share of the global batch's loss, in nats."""
    metrics: dict[str, float]
    """Sums and counts; see ``unisd_core.objective.metrics``."""
    divergence_N: Tensor | None = None
    """Token divergences in nats before the token clip, detached; None where not computed."""


def objective(batch: MicroBatch, head_VH: Tensor, config: ObjectiveConfig) -> ObjectiveOutput:
    """Weighted divergence + contrast + features + cross-entropy of one micro-batch (Eq. 1).

        (1/B) sum_r s_r * sum_t w_t i_t D_t / max(eps, sum_t w_t)   times divergence.weight
      + (1/B) sum_r mean_t i_t hinge_t                              times contrastive.weight
      + (1/B) sum_r mean_t i_t F_t                                  times features.weight
      + (1/B) sum_r mean_t i_t (-log pi(y_t))                       times cross_entropy.weight

    i_t is the importance weight. ``agreement.normalise`` row puts s_r under the fraction bar too
    (paper, Eq. 9), where it cancels. ``reduction`` sum turns the mean over tokens of its term into
    a sum (Eq. 5), and for features the mean over H as well (Eq. 6).

    Terms of weight 0 are not computed. A loss that is not finite is returned as it is, and
    counted in the metric ``non_finite``. Raises ValueError on shapes that do not fit and where
    a term misses the teacher's side.
    """
    terms = _token_terms(batch, head_VH, config)
    importance = importance_weights(
        terms.student_logprob_N,
        batch.behaviour_logprob_N,
        batch.stale_N,
        batch.row_N,
        config.importance,
    )
    # A multiplication by exact ones would only cost memory in the graph.
    correct = config.importance.level != "off"

    def corrected(value_N: Tensor) -> Tensor:
        return value_N * importance.weight_N if correct else value_N

    parts: dict[str, Tensor] = {}
    unweighted: dict[str, Tensor] = {}
    per_token: dict[str, Tensor] = {}

    def add_term(name: str, weight: float, value_N: Tensor, reduction: str = "mean") -> None:
        parts[name] = weight * _over_rows(batch, corrected(value_N), reduction)
        unweighted[name] = _over_rows(batch, value_N.detach(), reduction)

    if config.divergence.weight:
        row_R = _agreement_rows(batch, corrected(terms.divergence_N), config.agreement.normalise)
        parts["divergence"] = config.divergence.weight * row_R.sum() / batch.global_rows
        unweighted["divergence"] = _over_rows(batch, terms.divergence_N.detach(), "mean")
        per_token["divergence"] = terms.divergence_N
        per_token["clipped"] = terms.clipped_N
        if config.divergence.top_k:
            per_token["topk_mass"] = _topk(batch).logprob_NK.double().exp().sum(-1)
    if config.contrastive.weight:
        hinge_N, per_token["contrastive_active"] = contrastive_hinge(
            terms.student_logprob_N,
            terms.teacher_logprob_N,
            batch.negative_logprob_N,
            config.contrastive.margin,
            batch.has_negative_N,
        )
        add_term("contrastive", config.contrastive.weight, hinge_N, config.contrastive.reduction)
    if config.features.weight:
        student, teacher = _feature_states(batch, config)
        distance_N = feature_distance(student, teacher, normalise=config.features.normalise)
        per_token["feature_distance"] = distance_N
        if config.features.reduction == "sum":
            distance_N = distance_N * student.shape[-1]
        add_term("features", config.features.weight, distance_N, config.features.reduction)
    if config.cross_entropy.weight:
        per_token["cross_entropy"] = -terms.student_logprob_N
        add_term("cross_entropy", config.cross_entropy.weight, -terms.student_logprob_N)

    loss = terms.student_logprob_N.new_zeros(())
    for part in parts.values():
        loss = loss + part
    sums = token_sums(
        loss=loss,
        parts=parts,
        unweighted=unweighted,
        per_token=per_token,
        student_logprob_N=terms.student_logprob_N,
        agreement_weight_N=batch.token_weight_N * batch.sequence_weight_R[batch.row_N],
        has_negative_N=batch.has_negative_N,
        behaviour_logprob_N=batch.behaviour_logprob_N,
        same_version_N=batch.same_version_N,
        stale_N=batch.stale_N,
        importance=importance if correct else None,
    )
    raw_N = None if terms.raw_N is None else terms.raw_N.detach()
    return ObjectiveOutput(loss, sums, raw_N)


def _token_terms(batch: MicroBatch, head_VH: Tensor, config: ObjectiveConfig) -> TokenTerms:
    """Vocabulary-sized work, reduced to what the switched-on terms need."""
    contrast = config.contrastive.weight > 0
    logprob_grad = contrast or config.cross_entropy.weight > 0
    if config.divergence.weight:
        compare = _compare_likely if config.divergence.top_k else _compare_all
        return compare(
            batch,
            head_VH,
            alpha=config.divergence.alpha,
            temperature=config.divergence.temperature,
            clip=batch.clip,
            clip_entries=config.divergence.clip_entries,
            chunk_tokens=config.chunk_tokens,
            logprob_grad=logprob_grad,
        )
    # The student's log-prob is read even without a term on it: its gap to the engine's is
    # the health check of the run.
    logprob = linear_logprob if logprob_grad else sampled_logprobs
    student_N = logprob(batch.student_hidden_NH, head_VH, batch.token_N, config.chunk_tokens)
    nothing_N = torch.zeros_like(student_N)
    teacher_N = _teacher_logprob(batch, head_VH, config) if contrast else nothing_N
    return TokenTerms(nothing_N, student_N, teacher_N, nothing_N.bool())


def _compare_all(batch: MicroBatch, head_VH: Tensor, **options: Any) -> TokenTerms:
    return linear_divergence(
        batch.student_hidden_NH,
        _teacher_hidden(batch),
        head_VH,
        batch.token_N,
        teacher_head_VH=batch.teacher_head_VH,
        **options,
    )


def _compare_likely(batch: MicroBatch, head_VH: Tensor, **options: Any) -> TokenTerms:
    return topk_divergence(batch.student_hidden_NH, head_VH, batch.token_N, _topk(batch), **options)


def _teacher_logprob(batch: MicroBatch, head_VH: Tensor, config: ObjectiveConfig) -> Tensor:
    if batch.teacher_topk is not None:
        return batch.teacher_topk.sampled_logprob_N
    head_VH = head_VH if batch.teacher_head_VH is None else batch.teacher_head_VH
    return sampled_logprobs(_teacher_hidden(batch), head_VH, batch.token_N, config.chunk_tokens)


def _feature_states(batch: MicroBatch, config: ObjectiveConfig) -> tuple[Tensor, Tensor]:
    if not config.features.extra_layers:
        return batch.student_hidden_NH, _teacher_hidden(batch)
    student, teacher = batch.student_layers_LNH, batch.teacher_layers_LNH
    if student is None or teacher is None or len(student) != len(config.features.layers):
        raise ValueError("states of features.layers are missing from the micro-batch")
    return student, teacher


def _teacher_hidden(batch: MicroBatch) -> Tensor:
    if batch.teacher_hidden_NH is None:
        raise ValueError("the teacher's hidden states are missing from the micro-batch")
    return batch.teacher_hidden_NH


def _topk(batch: MicroBatch) -> TopK:
    if batch.teacher_topk is None:
        raise ValueError("the teacher's top-k log-probs are missing from the micro-batch")
    return batch.teacher_topk


def _agreement_rows(batch: MicroBatch, value_N: Tensor, normalise: str) -> Tensor:
    """Agreement-weighted mean of each row's values, shape (R,)."""
    weight_N = batch.token_weight_N.to(value_N.dtype)
    sequence_R = batch.sequence_weight_R.to(value_N.dtype)
    if normalise == "row":
        weight_N = weight_N * sequence_R[batch.row_N]
    row_R = _row_sum(batch, weight_N * value_N)
    row_R = row_R / _row_sum(batch, weight_N).clamp(min=SMALLEST_WEIGHT_SUM)
    return row_R if normalise == "row" else row_R * sequence_R


def _row_sum(batch: MicroBatch, value_N: Tensor) -> Tensor:
    rows_R = value_N.new_zeros(len(batch.sequence_weight_R))
    return rows_R.index_add(0, batch.row_N, value_N)


def _over_rows(batch: MicroBatch, value_N: Tensor, reduction: str) -> Tensor:
    """(1/B) sum over rows of the mean or sum over the row's tokens."""
    row_R = _row_sum(batch, value_N)
    if reduction == "mean":
        row_R = row_R / _row_sum(batch, torch.ones_like(value_N)).clamp(min=1.0)
    return row_R.sum() / batch.global_rows
