from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unisd_core.objective.batches import H, gradient, head, micro_batch, rows_of, tokens_of
from tests.unisd_core.objective.reference import naive_terms
from unisd_core.config.method import (
    AgreementConfig,
    ContrastiveConfig,
    DivergenceConfig,
    FeaturesConfig,
    ObjectiveConfig,
)
from unisd_core.objective.agreement import agreement_weights
from unisd_core.objective.metrics import add_metrics, finalise_metrics
from unisd_core.objective.terms import MicroBatch, objective

ALL = ObjectiveConfig(
    divergence=DivergenceConfig(weight=0.8, alpha=0.0),
    contrastive=ContrastiveConfig(weight=0.3, margin=0.5),
    features=FeaturesConfig(weight=0.2),
    chunk_tokens=3,
)


def test_loss_and_gradient_agree_with_the_formula_row_by_row() -> None:
    batch = micro_batch([4, 1, 7])
    naive = batch.student_hidden_NH.detach().clone().requires_grad_()
    divergence, student, teacher = naive_terms(
        naive, batch.teacher_hidden_NH, head(), batch.token_N, alpha=0.0, clip=1.5
    )
    negative = batch.negative_logprob_N
    loss = torch.zeros((), dtype=torch.float64)
    for r in range(3):
        t = batch.row_N == r
        w = batch.token_weight_N[t]
        loss = loss + 0.8 * batch.sequence_weight_R[r] * (w * divergence[t]).sum() / w.sum()
        if batch.has_negative_N[t].all():
            hinge = 0.5 + (student[t] - teacher[t]).abs() - (student[t] - negative[t]).abs()
            loss = loss + 0.3 * hinge.clamp(min=0).mean()
        feature = ((naive[t] - batch.teacher_hidden_NH[t]) ** 2).sum(-1) / H
        loss = loss + 0.2 * feature.mean()
    (loss / 3).backward()
    output = objective(batch, head(), ALL)
    assert output.loss.item() == pytest.approx(loss.item() / 3, rel=1e-12)
    torch.testing.assert_close(gradient(batch, ALL), naive.grad, rtol=1e-10, atol=1e-13)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(0, 10**6), st.data())
def test_sharding_and_order_do_not_matter(lengths: list[int], seed: int, data: Any) -> None:
    batch = micro_batch(lengths, seed)
    whole = objective(batch, head(), ALL)
    order = data.draw(st.permutations(range(len(lengths))))
    cuts = data.draw(st.sets(st.integers(1, len(lengths)), max_size=3))
    edges = sorted({0, len(lengths), *cuts})
    parts = [
        objective(rows_of(batch, list(order[a:b])), head(), ALL)
        for a, b in zip(edges, edges[1:], strict=False)
    ]
    total = torch.stack([part.loss for part in parts]).sum()
    torch.testing.assert_close(total, whole.loss, rtol=1e-12, atol=1e-14)
    expected = torch.autograd.grad(whole.loss, batch.student_hidden_NH)[0]
    got = torch.autograd.grad(total, batch.student_hidden_NH)[0]
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-13)
    merged = finalise_metrics(add_metrics(*(part.metrics for part in parts)))
    assert merged == pytest.approx(finalise_metrics(whole.metrics), rel=1e-9, abs=1e-12)


def test_order_of_tokens_does_not_matter() -> None:
    batch = micro_batch([3, 5])
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    shuffled = objective(tokens_of(batch, order), head(), ALL)
    torch.testing.assert_close(shuffled.loss, objective(batch, head(), ALL).loss)


def test_sequence_weights_change_the_gradient_between_rows() -> None:
    """Paper, Eq. 9 divides a row's weight by itself; here it survives."""
    config = ObjectiveConfig(
        contrastive=ContrastiveConfig(weight=0), features=FeaturesConfig(weight=0)
    )
    disagreeing = [np.zeros((3, 4)), np.array([[0.0] * 4, [-2.0] * 4, [-4.0] * 4])]
    weights = agreement_weights(disagreeing, AgreementConfig(level="sequence")).sequence_weight
    assert weights[0] > 1 > weights[1]
    even = dataclasses.replace(
        micro_batch([4, 4]),
        sequence_weight_R=torch.ones(2, dtype=torch.float64),
        token_weight_N=torch.ones(8, dtype=torch.float64),
    )
    weighted = dataclasses.replace(even, sequence_weight_R=torch.from_numpy(weights))
    before, after = gradient(even, config), gradient(weighted, config)
    torch.testing.assert_close(after[:4], weights[0] * before[:4])
    torch.testing.assert_close(after[4:], weights[1] * before[4:])


def test_token_weights_are_relative_within_a_row() -> None:
    config = ObjectiveConfig(
        contrastive=ContrastiveConfig(weight=0), features=FeaturesConfig(weight=0)
    )
    batch = micro_batch([5, 3])
    doubled = dataclasses.replace(batch, token_weight_N=batch.token_weight_N * 2)
    torch.testing.assert_close(gradient(doubled, config), gradient(batch, config))
    uneven = batch.token_weight_N.clone()
    uneven[0] *= 0.1
    changed = gradient(dataclasses.replace(batch, token_weight_N=uneven), config)
    assert not torch.allclose(changed[:5], gradient(batch, config)[:5])


OFF: dict[str, Any] = {
    "divergence": DivergenceConfig(weight=0),
    "contrastive": ContrastiveConfig(weight=0),
    "features": FeaturesConfig(weight=0),
}


@pytest.mark.parametrize("term", OFF)
def test_each_term_changes_the_gradient_and_none_is_computed_at_weight_0(term: str) -> None:
    batch = micro_batch([4, 6], seed=3)
    without = ALL.model_copy(update={term: OFF[term]})
    alone = ALL.model_copy(update={name: off for name, off in OFF.items() if name != term})
    complete = gradient(batch, ALL)
    torch.testing.assert_close(complete, gradient(batch, without) + gradient(batch, alone))
    assert gradient(batch, alone).abs().max() > 1e-4
    metrics = finalise_metrics(objective(batch, head(), without).metrics)
    assert f"loss_{term}" not in metrics and metrics["student_logprob"] < 0


def test_clip_reaches_the_loss() -> None:
    batch = micro_batch([4, 6])
    loose = objective(dataclasses.replace(batch, clip=None), head(), ALL)
    tight = objective(dataclasses.replace(batch, clip=1e-3), head(), ALL)
    assert finalise_metrics(loose.metrics)["clipped_fraction"] == 0
    assert finalise_metrics(tight.metrics)["clipped_fraction"] > 0.9
    torch.testing.assert_close(tight.divergence_N, loose.divergence_N)


def test_metrics_by_hand() -> None:
    batch = micro_batch([4, 1, 7], seed=5)
    metrics = finalise_metrics(objective(batch, head(), ALL).metrics)
    divergence, student, teacher = naive_terms(
        batch.student_hidden_NH.detach(),
        batch.teacher_hidden_NH,
        head(),
        batch.token_N,
        alpha=0.0,
        clip=1.5,
    )
    weight = batch.token_weight_N * batch.sequence_weight_R[batch.row_N]
    negative = batch.has_negative_N
    slack = 0.5 + (student - teacher).abs() - (student - batch.negative_logprob_N).abs()
    gap = (student - batch.behaviour_logprob_N).abs()[batch.same_version_N]
    feature = (batch.student_hidden_NH.detach() - batch.teacher_hidden_NH).square().mean(-1)
    expected = {
        "tokens": 12,
        "non_finite": 0,
        "divergence_unweighted": divergence.mean(),
        "divergence_weighted": (weight * divergence).sum() / weight.sum(),
        "clipped_fraction": (divergence == 1.5).double().mean(),
        "contrastive_active_fraction": (slack[negative] > 0).double().mean(),
        "feature_distance": feature.mean(),
        "agreement_weight_mean": weight.mean(),
        "agreement_weight_min": weight.min(),
        "agreement_spread": weight.std(correction=0),
        "engine_learner_logprob_gap": gap.mean(),
        "student_logprob": student.mean(),
    }
    parts = {name for name in metrics if name.startswith("loss") and "unweighted" not in name}
    unweighted = {name: metrics.pop(f"{name}_unweighted") for name in parts - {"loss"}}
    assert unweighted["loss_divergence"] != metrics["loss_divergence"]
    assert unweighted["loss_contrastive"] == pytest.approx(metrics["loss_contrastive"] / 0.3)
    assert metrics.keys() - parts == expected.keys()
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(float(value), rel=1e-9), name
    assert parts == {"loss", "loss_divergence", "loss_contrastive", "loss_features"}
    assert metrics["loss"] == pytest.approx(sum(metrics[p] for p in parts - {"loss"}))
    row_means = [divergence[batch.row_N == r].mean() for r in range(3)]
    assert unweighted["loss_divergence"] == pytest.approx(float(sum(row_means)) / 3)


def test_unknown_behaviour_log_probs_do_not_reach_the_metrics() -> None:
    batch = micro_batch([4])
    unknown = dataclasses.replace(
        batch,
        behaviour_logprob_N=torch.full((4,), math.nan),
        same_version_N=torch.zeros(4, dtype=torch.bool),
    )
    metrics = finalise_metrics(objective(unknown, head(), ALL).metrics)
    assert "engine_learner_logprob_gap" not in metrics
    assert all(math.isfinite(value) for value in metrics.values())


def test_a_loss_that_is_not_finite_is_reported_as_such() -> None:
    sound, faulty = micro_batch([4], seed=1), micro_batch([4], seed=2)
    teacher = faulty.teacher_hidden_NH.clone()
    teacher[2, 0] = math.nan
    faulty = dataclasses.replace(faulty, teacher_hidden_NH=teacher)
    outputs = [objective(batch, head(), ALL) for batch in (sound, faulty, sound)]
    assert not outputs[1].loss.isfinite()
    metrics = finalise_metrics(add_metrics(*(output.metrics for output in outputs)))
    assert metrics["non_finite"] == 1 and math.isnan(metrics["loss"])


def test_an_empty_micro_batch_still_reaches_the_backward_pass() -> None:
    batch = micro_batch([4, 2])
    empty = rows_of(batch, [])
    output = objective(empty, head(), ALL.model_copy(update={"features": FeaturesConfig(weight=0)}))
    assert output.loss.item() == 0.0
    output.loss.backward()
    assert torch.equal(batch.student_hidden_NH.grad, torch.zeros(6, H, dtype=torch.float64))
    output = objective(empty, head(), ALL)
    full = objective(micro_batch([4, 2]), head(), ALL).metrics
    assert add_metrics(output.metrics, full) == pytest.approx(full)
    assert finalise_metrics(output.metrics)["tokens"] == 0


def test_a_trained_head_gets_the_gradient_of_every_term() -> None:
    batch = micro_batch([4, 3])
    own = head().requires_grad_()
    objective(batch, own, ALL).loss.backward()
    sharded = head().requires_grad_()
    for row in range(2):
        objective(rows_of(batch, [row]), sharded, ALL).loss.backward()
    assert own.grad.abs().max() > 1e-4
    torch.testing.assert_close(sharded.grad, own.grad)


def test_what_a_micro_batch_leaves_out_does_not_matter() -> None:
    full = micro_batch([3, 2, 4])
    tokens, rows = len(full.token_N), 3
    nothing_N = torch.zeros(tokens, dtype=torch.bool)
    plain = dataclasses.replace(
        full,
        token_weight_N=torch.ones(tokens, dtype=torch.float64),
        sequence_weight_R=torch.ones(rows, dtype=torch.float64),
        has_negative_N=nothing_N,
        same_version_N=nothing_N,
        stale_N=nothing_N,
        clip=None,
    )
    short = MicroBatch(
        student_hidden_NH=full.student_hidden_NH,
        teacher_hidden_NH=full.teacher_hidden_NH,
        token_N=full.token_N,
        row_N=full.row_N,
    )
    config = ObjectiveConfig()
    assert short.global_rows == rows
    assert objective(short, head(), config).loss == objective(plain, head(), config).loss


def test_the_tokens_of_one_row_need_no_row_numbers() -> None:
    full = micro_batch([5])
    states = (full.student_hidden_NH, full.teacher_hidden_NH, full.token_N)
    assert MicroBatch(*states).global_rows == 1
    contrast = MicroBatch(*states, negative_logprob_N=torch.full((5,), -2.0, dtype=torch.float64))
    assert bool(contrast.has_negative_N.all())
    assert objective(contrast, head(), ObjectiveConfig()).loss.isfinite()
