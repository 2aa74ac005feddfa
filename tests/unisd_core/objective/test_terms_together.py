"""Options of the terms together: the formula token by token, dealing out, and what is missing."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.unisd_core.objective.batches import (
    H,
    gradient,
    head,
    micro_batch,
    only,
    rows_of,
    tokens_of,
    with_topk,
)
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
from unisd_core.objective import terms as terms_module
from unisd_core.objective.metrics import add_metrics, finalise_metrics
from unisd_core.objective.terms import MicroBatch, objective

DIVERGENCE = DivergenceConfig(weight=0.7)

VARIANTS = {
    "plain": only(divergence=DIVERGENCE),
    "clip_entries": only(divergence=DivergenceConfig(weight=0.7, clip_entries=0.05)),
    "row": only(
        divergence=DIVERGENCE, agreement=AgreementConfig(level="sequence", normalise="row")
    ),
    "token_importance": only(divergence=DIVERGENCE, importance=ImportanceConfig(level="token")),
    "sequence_importance": only(
        divergence=DIVERGENCE, importance=ImportanceConfig(level="sequence")
    ),
    "hinge": only(contrastive=ContrastiveConfig(weight=0.3, margin=2.0)),
    "hinge_sum": only(contrastive=ContrastiveConfig(weight=0.3, margin=2.0, reduction="sum")),
    "features": only(features=FeaturesConfig(weight=0.2)),
    "features_sum": only(features=FeaturesConfig(weight=0.2, reduction="sum")),
    "features_normalised": only(features=FeaturesConfig(weight=0.2, normalise=True)),
    "cross_entropy": only(cross_entropy=CrossEntropyConfig(weight=0.4)),
    "all": ObjectiveConfig(
        divergence=DIVERGENCE,
        contrastive=ContrastiveConfig(weight=0.3, margin=2.0, reduction="sum"),
        features=FeaturesConfig(weight=0.2, normalise=True, reduction="sum"),
        cross_entropy=CrossEntropyConfig(weight=0.4),
        importance=ImportanceConfig(level="token", cap=1.5),
        agreement=AgreementConfig(level="sequence", normalise="row"),
        chunk_tokens=3,
    ),
}


def naive_loss(student: Tensor, batch: MicroBatch, config: ObjectiveConfig) -> Tensor:
    """The objective row by row and token by token, in float64 and through full logits."""
    teacher = batch.teacher_hidden_NH
    assert teacher is not None
    divergence, own, positive = naive_terms(
        student,
        teacher,
        head(),
        batch.token_N,
        alpha=0.0,
        clip=batch.clip,
        clip_entries=config.divergence.clip_entries,
    )
    total = torch.zeros((), dtype=torch.float64)
    for r in range(len(batch.sequence_weight_R)):
        tokens = [int(t) for t in (batch.row_N == r).nonzero()]
        ratio = [
            math.exp(own[t].item() - batch.behaviour_logprob_N[t].item())
            if batch.stale_N[t]
            else 1.0
            for t in tokens
        ]
        if config.importance.level == "sequence":
            ratio = [math.prod(ratio)] * len(tokens)
        if config.importance.level == "off":
            ratio = [1.0] * len(tokens)
        s = float(batch.sequence_weight_R[r])
        numerator, denominator = torch.zeros((), dtype=torch.float64), 0.0
        hinge = feature = entropy = torch.zeros((), dtype=torch.float64)
        for t, r_t in zip(tokens, ratio, strict=True):
            i = min(r_t, config.importance.cap) if batch.stale_N[t] else 1.0
            w = float(batch.token_weight_N[t])
            numerator = numerator + s * w * i * divergence[t]
            denominator += s * w if config.agreement.normalise == "row" else w
            if batch.has_negative_N[t]:
                near, far = own[t] - positive[t], own[t] - batch.negative_logprob_N[t]
                margin = config.contrastive.margin
                hinge = hinge + i * (margin + near.abs() - far.abs()).clamp(min=0)
            a, b = student[t], teacher[t]
            if config.features.normalise:
                a, b = (x / (x.square().mean() + 1e-6).sqrt() for x in (a, b))
            feature = feature + i * (a - b).square().sum()
            entropy = entropy - i * own[t]
        n = len(tokens)
        hinge = hinge if config.contrastive.reduction == "sum" else hinge / n
        feature = feature if config.features.reduction == "sum" else feature / (n * H)
        total = total + config.divergence.weight * numerator / denominator
        total = total + config.contrastive.weight * hinge
        total = total + config.features.weight * feature
        total = total + config.cross_entropy.weight * entropy / n
    return total / batch.global_rows


@pytest.mark.parametrize("seed", [5, 8])
@pytest.mark.parametrize("name", VARIANTS)
def test_value_and_gradient_agree_with_the_formula(name: str, seed: int) -> None:
    batch, config = micro_batch([4, 1, 7, 3], seed), VARIANTS[name]
    naive = batch.student_hidden_NH.detach().clone().requires_grad_()
    expected = naive_loss(naive, batch, config)
    expected.backward()
    assert naive.grad is not None and naive.grad.abs().max() > 1e-4
    got = objective(batch, head(), config).loss
    assert got.item() == pytest.approx(expected.item(), rel=1e-9)
    torch.testing.assert_close(gradient(batch, config), naive.grad, rtol=1e-8, atol=1e-12)

    narrow = {
        field.name: value.detach().float()
        for field in dataclasses.fields(batch)
        if isinstance(value := getattr(batch, field.name), Tensor) and value.is_floating_point()
    }
    narrow_batch = dataclasses.replace(batch, **narrow)
    narrow_batch.student_hidden_NH.requires_grad_()
    loss = objective(narrow_batch, head().float(), config).loss
    grad = torch.autograd.grad(loss, narrow_batch.student_hidden_NH)[0].double()
    # Clipped entries of both signs nearly cancel: the last digit of terms of order 1 remains.
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-7)
    assert (grad - naive.grad).norm() < 1e-5 * naive.grad.norm()


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("clip_entries", "plain"),
        ("row", "plain"),
        ("token_importance", "plain"),
        ("sequence_importance", "plain"),
        ("sequence_importance", "token_importance"),
        ("hinge_sum", "hinge"),
        ("features_sum", "features"),
        ("features_normalised", "features"),
    ],
)
def test_each_option_acts_on_the_gradient(name: str, reference: str) -> None:
    batch = micro_batch([4, 1, 7, 3], seed=5)
    with_option, without = gradient(batch, VARIANTS[name]), gradient(batch, VARIANTS[reference])
    assert (with_option - without).norm() > 1e-2 * without.norm()


def test_importance_changes_stale_rows_only_and_is_reported() -> None:
    batch = micro_batch([4, 5, 3])
    plain = gradient(batch, VARIANTS["plain"])
    for name in ("token_importance", "sequence_importance"):
        corrected = gradient(batch, VARIANTS[name])
        torch.testing.assert_close(corrected[~batch.stale_N], plain[~batch.stale_N])
        assert not torch.allclose(corrected[batch.stale_N], plain[batch.stale_N])
    output = objective(batch, head(), VARIANTS["token_importance"])
    metrics = finalise_metrics(output.metrics)
    student = naive_terms(
        batch.student_hidden_NH.detach(),
        batch.teacher_hidden_NH,
        head(),
        batch.token_N,
        alpha=0.0,
    )[1]
    ratio = (student - batch.behaviour_logprob_N).exp()[batch.stale_N]
    assert metrics["importance_mean"] == pytest.approx(float(ratio.clamp(max=2.0).mean()))
    capped = (ratio > 2.0).double().mean()
    assert metrics["importance_capped_fraction"] == pytest.approx(float(capped))
    assert 0 < float(capped) < 1
    off = finalise_metrics(objective(batch, head(), VARIANTS["plain"]).metrics)
    assert "importance_mean" not in off
    torch.testing.assert_close(
        metrics["loss_divergence_unweighted"], off["loss_divergence_unweighted"]
    )
    assert metrics["loss_divergence"] != pytest.approx(off["loss_divergence"])


def test_topk_takes_the_place_of_hidden_states() -> None:
    batch = micro_batch([4, 6, 2])
    exact = only(divergence=DIVERGENCE, contrastive=ContrastiveConfig(weight=0.3, margin=2.0))
    whole, some = (
        exact.model_copy(update={"divergence": DivergenceConfig(weight=0.7, top_k=k)})
        for k in (23, 4)
    )
    complete = with_topk(batch, 23)
    torch.testing.assert_close(gradient(complete, whole), gradient(batch, exact))
    assert finalise_metrics(objective(complete, head(), whole).metrics)[
        "topk_mass"
    ] == pytest.approx(1.0)
    few = with_topk(batch, 4)
    assert few.teacher_topk is not None
    assert not torch.allclose(gradient(few, some), gradient(batch, exact))
    mass = few.teacher_topk.logprob_NK.exp().sum(-1).mean()
    metrics = finalise_metrics(objective(few, head(), some).metrics)
    assert metrics["topk_mass"] == pytest.approx(float(mass)) and 0 < float(mass) < 1
    without = some.model_copy(update={"divergence": DivergenceConfig(weight=0, top_k=4)})
    hinge = exact.model_copy(update={"divergence": DivergenceConfig(weight=0)})
    torch.testing.assert_close(gradient(few, without), gradient(batch, hinge))


@pytest.mark.parametrize("name", ["features", "cross_entropy", "hinge"])
def test_without_its_weight_the_divergence_is_not_computed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("computed a divergence that no term reads")

    monkeypatch.setattr(terms_module, "linear_divergence", refuse)
    monkeypatch.setattr(terms_module, "topk_divergence", refuse)
    output = objective(micro_batch([4, 1, 7, 3], seed=5), head(), VARIANTS[name])
    assert output.loss > 0 and output.divergence_N is None


def test_cross_entropy_reads_no_teacher_and_others_name_what_they_miss() -> None:
    batch = dataclasses.replace(micro_batch([4, 2], seed=5), teacher_hidden_NH=None)
    metrics = finalise_metrics(objective(batch, head(), VARIANTS["cross_entropy"]).metrics)
    assert metrics["cross_entropy"] == pytest.approx(-metrics["student_logprob"])
    assert metrics["loss_cross_entropy"] == pytest.approx(
        0.4 * metrics["loss_cross_entropy_unweighted"]
    )
    layers = only(features=FeaturesConfig(layers=(0, 1)))
    with pytest.raises(ValueError, match=r"features\.layers"):
        objective(dataclasses.replace(batch, student_layers_LNH=None), head(), layers)
    for name in ("plain", "hinge", "features"):
        with pytest.raises(ValueError, match="hidden states"):
            objective(batch, head(), VARIANTS[name])
    with pytest.raises(ValueError, match="top-k"):
        objective(batch, head(), only(divergence=DivergenceConfig(top_k=4)))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=5),
    st.sampled_from(sorted(VARIANTS)),
    st.integers(0, 10**6),
    st.booleans(),
    st.data(),
)
def test_sharding_and_order_do_not_matter_to_any_option(
    lengths: list[int], name: str, seed: int, topk: bool, data: Any
) -> None:
    batch, config = micro_batch(lengths, seed), VARIANTS[name]
    if topk and config.divergence.weight and not config.features.weight:
        batch = with_topk(batch, 4)
        divergence = config.divergence.model_copy(update={"top_k": 4})
        config = config.model_copy(update={"divergence": divergence})
    whole = objective(batch, head(), config)
    order = data.draw(st.permutations(range(len(lengths))))
    cut = data.draw(st.integers(0, len(lengths)))
    parts = []
    for rows in (list(order[:cut]), list(order[cut:])):
        part = rows_of(batch, rows)
        tokens = data.draw(st.permutations(range(len(part.token_N))))
        shuffled = tokens_of(part, torch.tensor(tokens, dtype=torch.long))
        parts.append(objective(shuffled, head(), config))
    total = torch.stack([part.loss for part in parts]).sum()
    torch.testing.assert_close(total, whole.loss, rtol=1e-10, atol=1e-13)
    expected = torch.autograd.grad(whole.loss, batch.student_hidden_NH)[0]
    got = torch.autograd.grad(total, batch.student_hidden_NH)[0]
    torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-12)
    merged = finalise_metrics(add_metrics(*(part.metrics for part in parts)))
    assert merged == pytest.approx(finalise_metrics(whole.metrics), rel=1e-8, abs=1e-12)
