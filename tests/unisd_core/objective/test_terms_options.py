"""Every optional form of the terms against its equation in float64, and what makes it act."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from tests.unisd_core.objective.batches import H, gradient, head, micro_batch, only
from tests.unisd_core.objective.reference import naive_terms
from unisd_core.config.method import (
    AgreementConfig,
    ContrastiveConfig,
    CrossEntropyConfig,
    DivergenceConfig,
    FeaturesConfig,
    ImportanceConfig,
    ObjectiveConfig,
)
from unisd_core.objective.divergence import teacher_topk
from unisd_core.objective.metrics import finalise_metrics
from unisd_core.objective.terms import MicroBatch, objective


def over_rows(batch: MicroBatch, value_N: Tensor, reduction: str = "mean") -> Tensor:
    rows = [value_N[batch.row_N == r] for r in range(len(batch.sequence_weight_R))]
    return torch.stack([row.mean() if reduction == "mean" else row.sum() for row in rows]).mean()


def naive(batch: MicroBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A leaf of the student's states, and divergence, student and teacher log-prob from it."""
    leaf = batch.student_hidden_NH.detach().clone().requires_grad_()
    teacher = batch.teacher_hidden_NH
    assert teacher is not None
    return leaf, *naive_terms(leaf, teacher, head(), batch.token_N, alpha=0.0, clip=batch.clip)


def check(batch: MicroBatch, config: ObjectiveConfig, leaf: Tensor, expected: Tensor) -> None:
    output = objective(batch, head(), config)
    assert output.loss.item() == pytest.approx(expected.item(), rel=1e-9)
    expected.backward()
    assert leaf.grad is not None and leaf.grad.abs().max() > 1e-6
    torch.testing.assert_close(gradient(batch, config), leaf.grad, rtol=1e-7, atol=1e-12)


def test_cross_entropy() -> None:
    batch = micro_batch([4, 1, 7])
    leaf, _, student, _ = naive(batch)
    config = only(cross_entropy=CrossEntropyConfig(weight=0.7))
    without_teacher = dataclasses.replace(batch, teacher_hidden_NH=None)
    check(without_teacher, config, leaf, 0.7 * over_rows(batch, -student))
    metrics = finalise_metrics(objective(without_teacher, head(), config).metrics)
    assert metrics["cross_entropy"] == pytest.approx(-metrics["student_logprob"])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_contrast(reduction: str) -> None:
    batch = micro_batch([14, 6, 17], seed=0)
    assert batch.has_negative_N.any()
    leaf, _, student, teacher = naive(batch)
    far = (student - batch.negative_logprob_N.nan_to_num()).abs()
    hinge = (0.5 + (student - teacher).abs() - far).clamp(min=0) * batch.has_negative_N
    config = only(contrastive=ContrastiveConfig(weight=0.3, margin=0.5, reduction=reduction))
    check(batch, config, leaf, 0.3 * over_rows(batch, hinge, reduction))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("normalise", [False, True])
def test_features(reduction: str, normalise: bool) -> None:
    batch = micro_batch([4, 3], seed=1)
    leaf = batch.student_hidden_NH.detach().clone().requires_grad_()

    def scaled(state: Tensor) -> Tensor:
        return state / (state.square().mean(-1, keepdim=True) + 1e-6).sqrt() if normalise else state

    assert batch.teacher_hidden_NH is not None
    square = (scaled(leaf) - scaled(batch.teacher_hidden_NH)).square().sum(-1)
    value = square / H if reduction == "mean" else square
    features = FeaturesConfig(weight=0.2, normalise=normalise, reduction=reduction)
    expected = 0.2 * over_rows(batch, value, reduction)
    check(batch, only(features=features), leaf, expected)


def test_features_of_several_layers_are_averaged() -> None:
    batch = micro_batch([4, 3], seed=1)
    layers = torch.rand(2, 7, H, dtype=torch.float64).requires_grad_()
    teacher = torch.rand(2, 7, H, dtype=torch.float64)
    batch = dataclasses.replace(batch, student_layers_LNH=layers, teacher_layers_LNH=teacher)
    config = only(features=FeaturesConfig(weight=1.0, layers=(0, 2)))
    output = objective(batch, head(), config)
    expected = over_rows(batch, (layers - teacher).square().mean(-1).mean(0))
    assert output.loss.item() == pytest.approx(expected.item())
    output.loss.backward()
    assert layers.grad is not None and (layers.grad.abs().amax((1, 2)) > 0).all()


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_importance_correction(level: str) -> None:
    batch = micro_batch([4, 3, 5], seed=2)
    stale_R = torch.tensor([True, False, True])
    batch = dataclasses.replace(batch, stale_N=stale_R[batch.row_N])
    leaf, divergence, student, _ = naive(batch)
    log_ratio = torch.where(batch.stale_N, student.detach() - batch.behaviour_logprob_N, 0.0)
    if level == "sequence":
        sums = torch.stack([log_ratio[batch.row_N == r].sum() for r in range(3)])
        log_ratio = sums[batch.row_N]
    ratio = log_ratio.exp().clamp(max=1.3)
    ratio = torch.where(batch.stale_N, ratio, 1.0)
    expected = torch.zeros((), dtype=torch.float64)
    for r in range(3):
        t = batch.row_N == r
        w = batch.token_weight_N[t]
        row = (w * ratio[t] * divergence[t]).sum() / w.sum()
        expected = expected + batch.sequence_weight_R[r] * row / 3
    config = only(divergence=DivergenceConfig(), importance=ImportanceConfig(level=level, cap=1.3))
    check(batch, config, leaf, expected)
    metrics = finalise_metrics(objective(batch, head(), config).metrics)
    assert metrics["importance_mean"] == pytest.approx(float(ratio[batch.stale_N].mean()))
    fresh = dataclasses.replace(batch, stale_N=torch.zeros_like(batch.stale_N))
    off = only(divergence=DivergenceConfig())
    torch.testing.assert_close(gradient(fresh, config), gradient(fresh, off))


def test_sequence_weights_cancel_as_they_are_published_and_act_when_normalised() -> None:
    """Paper, Eq. 9, and the released code divide a row's weight by itself."""
    batch = micro_batch([4, 6])
    even = dataclasses.replace(batch, sequence_weight_R=torch.ones(2, dtype=torch.float64))
    published = only(divergence=DivergenceConfig(), agreement=AgreementConfig(normalise="row"))
    acting = only(divergence=DivergenceConfig())
    torch.testing.assert_close(gradient(batch, published), gradient(even, published))
    assert not torch.allclose(gradient(batch, acting), gradient(even, acting))


def test_likely_tokens_give_the_same_loss_where_they_are_all_tokens() -> None:
    batch = micro_batch([4, 6])
    assert batch.teacher_hidden_NH is not None
    topk = teacher_topk(batch.teacher_hidden_NH, head(), batch.token_N, len(head()), 1.0)
    short = dataclasses.replace(batch, teacher_hidden_NH=None, teacher_topk=topk)
    whole = only(divergence=DivergenceConfig(), contrastive=ContrastiveConfig())
    config = whole.model_copy(update={"divergence": DivergenceConfig(top_k=len(head()))})
    torch.testing.assert_close(gradient(short, config), gradient(batch, whole))
    assert finalise_metrics(objective(short, head(), config).metrics)["topk_mass"] == pytest.approx(
        1
    )


def test_weighted_and_unweighted_losses_stand_side_by_side() -> None:
    batch = micro_batch([4, 6])
    even = dataclasses.replace(
        batch,
        token_weight_N=torch.ones_like(batch.token_weight_N),
        sequence_weight_R=torch.ones_like(batch.sequence_weight_R),
    )
    config = only(divergence=DivergenceConfig())
    metrics = finalise_metrics(objective(batch, head(), config).metrics)
    plain = finalise_metrics(objective(even, head(), config).metrics)
    assert metrics["loss_divergence_unweighted"] == pytest.approx(plain["loss_divergence"])
    assert metrics["loss_divergence"] != pytest.approx(plain["loss_divergence"], rel=1e-3)
