"""Divergence over the teacher's k most likely tokens and one bucket for all others."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.unisd_core.objective.reference import (
    assert_same_gradients,
    leaves,
    naive_divergence,
    relative,
)
from tests.unisd_core.objective.test_divergence import Largest, inputs
from unisd_core.objective.divergence import (
    TopK,
    linear_divergence,
    sampled_logprobs,
    teacher_topk,
    topk_divergence,
)

ALPHAS = (0.0, 0.3, 1.0)
Case = tuple[Tensor, Tensor, Tensor, Tensor]

# Not so peaked that the tail's mass drowns in the rounding of the log-probs.
cases = st.builds(
    inputs,
    N=st.integers(1, 6),
    H=st.integers(1, 8),
    V=st.integers(2, 40),
    scale=st.floats(0.01, 1.0),
    seed=st.integers(0, 2**31),
)


def buckets(logits_NV: Tensor, token_NK: Tensor, temperature: float) -> Tensor:
    """Log-probs (N, k + 1) by plain float64 arithmetic."""
    probability_NV = (logits_NV / temperature).softmax(-1)
    kept_NV = torch.zeros_like(probability_NV).scatter(1, token_NK, 1.0).bool()
    tail_N1 = probability_NV.masked_fill(kept_NV, 0.0).sum(-1, keepdim=True)
    return torch.cat([probability_NV.gather(1, token_NK), tail_N1], -1).log()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("trained_head", [False, True])
@pytest.mark.parametrize("clip_entries", [None, 0.2])
@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_values_and_gradients_agree_with_full_logits(
    alpha: float,
    temperature: float,
    clip: float | None,
    clip_entries: float | None,
    trained_head: bool,
    dtype: torch.dtype,
) -> None:
    student, teacher, head, token = inputs()
    upstream = torch.linspace(0.2, 1.7, len(token), dtype=torch.float64)
    exact, own = leaves(student, head, trained_head, dtype)
    student_NV, teacher_NV = exact[0] @ exact[1].T, teacher @ head.T
    token_NK = teacher_NV.topk(5, -1).indices
    expected = naive_divergence(
        buckets(student_NV, token_NK, temperature),
        buckets(teacher_NV, token_NK, temperature),
        alpha,
        math.inf if clip_entries is None else clip_entries,
        math.inf if clip is None else clip,
    )
    logprob = student_NV.log_softmax(-1).gather(1, token[:, None])[:, 0]
    (upstream * (expected - 0.3 * logprob)).sum().backward()

    topk = teacher_topk(teacher.to(dtype), head.to(dtype), token, 5, temperature, chunk_tokens=4)
    got = topk_divergence(
        *own,
        token,
        topk,
        alpha=alpha,
        temperature=temperature,
        clip=clip,
        clip_entries=clip_entries,
        chunk_tokens=5,
    )
    (upstream.to(dtype) * (got.divergence_N - 0.3 * got.student_logprob_N)).sum().backward()

    tolerance = 2e-5 if dtype == torch.float32 else 1e-12
    assert relative(got.divergence_N, expected) < tolerance
    assert relative(got.student_logprob_N, logprob) < tolerance
    assert_same_gradients(own, exact, tolerance)
    if clip is not None:
        assert got.clipped_N.any() and not got.clipped_N.all()


@pytest.mark.parametrize("clip_entries", [None, 0.05])
@pytest.mark.parametrize("trained_head", [False, True])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_gradcheck(alpha: float, trained_head: bool, clip_entries: float | None) -> None:
    student, teacher, head, token = inputs(N=4, H=3, V=7)
    topk = teacher_topk(teacher, head + 0.1, token, 3, 0.8)
    student.requires_grad_()
    head.requires_grad_(trained_head)

    def outputs(student_NH: Tensor, head_VH: Tensor) -> tuple[Tensor, Tensor]:
        return topk_divergence(
            student_NH,
            head_VH,
            token,
            topk,
            alpha=alpha,
            temperature=0.8,
            clip_entries=clip_entries,
            chunk_tokens=3,
        )[:2]

    assert torch.autograd.gradcheck(outputs, (student, head))


@pytest.mark.parametrize("clip_entries", [None, 0.05])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("k", [31, 100])
def test_all_tokens_give_the_full_divergence(
    k: int, alpha: float, temperature: float, clip_entries: float | None
) -> None:
    student, teacher, head, token = inputs()
    settings = dict(alpha=alpha, temperature=temperature, clip=0.3, clip_entries=clip_entries)
    full_hidden, hidden = student.clone().requires_grad_(), student.clone().requires_grad_()
    full = linear_divergence(full_hidden, teacher, head, token, **settings)
    topk = teacher_topk(teacher, head, token, k, temperature)
    assert topk.token_NK.shape == (len(token), 31)
    terms = topk_divergence(hidden, head, token, topk, **settings)
    for left, right in zip(full, terms, strict=True):
        assert torch.allclose(left.double(), right.double(), rtol=1e-10, atol=1e-12)
    full.divergence_N.sum().backward()
    terms.divergence_N.sum().backward()
    assert torch.allclose(hidden.grad, full_hidden.grad, rtol=1e-10, atol=1e-12)


def test_the_scorer_ships_the_most_likely_tokens() -> None:
    student, teacher, head, token = inputs()
    topk = teacher_topk(teacher.requires_grad_(), head, token, 4, 0.7, chunk_tokens=3)
    expected = (teacher @ head.T / 0.7).log_softmax(-1).topk(4, -1)
    assert torch.equal(topk.token_NK, expected.indices) and topk.token_NK.dtype == torch.int64
    assert torch.allclose(topk.logprob_NK, expected.values)
    assert torch.allclose(topk.sampled_logprob_N, sampled_logprobs(teacher, head, token))
    assert not any(value.requires_grad for value in topk)
    terms = topk_divergence(student, head, token, topk, alpha=0.0, temperature=0.7)
    assert torch.equal(terms.teacher_logprob_N, topk.sampled_logprob_N)


@settings(max_examples=80, deadline=None)
@given(cases, st.integers(1, 12), st.floats(0.0, 1.0), st.floats(0.5, 3.0))
def test_merging_tokens_never_raises_the_divergence(
    case: Case, k: int, alpha: float, temperature: float
) -> None:
    student, teacher, head, token = case
    full = linear_divergence(student, teacher, head, token, alpha=alpha, temperature=temperature)
    previous = torch.zeros_like(full.divergence_N)
    for kept in (k, 2 * k):
        topk = teacher_topk(teacher, head, token, kept, temperature)
        merged = topk_divergence(
            student, head, token, topk, alpha=alpha, temperature=temperature
        ).divergence_N
        assert torch.all(merged >= 0)
        assert torch.all(previous <= merged + 1e-9)
        assert torch.all(merged <= full.divergence_N + 1e-9)
        if 0 < alpha < 1:
            assert torch.all(merged <= math.log(2) + 1e-12)
        previous = merged


@settings(max_examples=40, deadline=None)
@given(cases, st.integers(1, 12), st.sampled_from(ALPHAS), st.randoms())
def test_neither_order_nor_chunk_size_matters(
    case: Case, k: int, alpha: float, random: Any
) -> None:
    student, teacher, head, token = case
    topk = teacher_topk(teacher, head, token, k, 1.0)
    order, columns = list(range(len(token))), list(range(topk.token_NK.shape[1]))
    random.shuffle(order)
    random.shuffle(columns)
    shuffled_topk = TopK(
        topk.token_NK[order][:, columns],
        topk.logprob_NK[order][:, columns],
        topk.sampled_logprob_N[order],
    )
    hidden, shuffled_hidden = student.clone().requires_grad_(), student[order].requires_grad_()
    plain = topk_divergence(hidden, head, token, topk, alpha=alpha, chunk_tokens=100)
    shuffled = topk_divergence(
        shuffled_hidden, head, token[order], shuffled_topk, alpha=alpha, chunk_tokens=2
    )
    for left, right in zip(plain, shuffled, strict=True):
        assert torch.allclose(left[order].double(), right.double(), rtol=1e-9, atol=1e-12)
    plain.divergence_N.sum().backward()
    shuffled.divergence_N.sum().backward()
    assert torch.allclose(hidden.grad[order], shuffled_hidden.grad, rtol=1e-9, atol=1e-11)


@settings(max_examples=30, deadline=None)
@given(cases, st.integers(1, 12), st.sampled_from(ALPHAS))
def test_names_of_tokens_do_not_matter(case: Case, k: int, alpha: float) -> None:
    student, teacher, head, token = case
    order = torch.randperm(len(head))
    renamed = order.argsort()
    topk = teacher_topk(teacher, head, token, k, 1.0)
    plain = topk_divergence(student, head, token, topk, alpha=alpha)
    other = topk_divergence(
        student,
        head[order],
        renamed[token],
        topk._replace(token_NK=renamed[topk.token_NK]),
        alpha=alpha,
    )
    assert torch.allclose(plain.divergence_N, other.divergence_N, rtol=1e-9, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(cases, st.integers(1, 12), st.sampled_from(ALPHAS))
def test_equal_distributions_have_neither_divergence_nor_gradient(
    case: Case, k: int, alpha: float
) -> None:
    student, _, head, token = case
    topk = teacher_topk(student, head, token, k, 1.0)
    student.requires_grad_()
    divergence = topk_divergence(student, head, token, topk, alpha=alpha).divergence_N
    divergence.sum().backward()
    assert torch.all(divergence.abs() < 1e-9) and torch.all(student.grad.abs() < 1e-6)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_a_tail_below_rounding_is_not_made_up(alpha: float) -> None:
    """The teacher's top 3 sum to 1 in float32; the student has most of its mass elsewhere."""
    logits = torch.linspace(0.0, -40.0, 31)
    teacher, head, token = logits[None], torch.eye(31), torch.tensor([4])
    for shift in (0.0, 1.0, 5.0, 10.0):
        teacher[0, :3] = torch.tensor([shift + 3, shift + 2, shift + 1])
        student = 0.03 * teacher.clone()
        full = linear_divergence(student, teacher, head, token, alpha=alpha).divergence_N
        topk = teacher_topk(teacher, head, token, 3, 1.0)
        merged = topk_divergence(student, head, token, topk, alpha=alpha).divergence_N
        assert 0 < merged <= full


@pytest.mark.parametrize("clip_entries", [None, 0.05])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_probabilities_that_underflow_stay_finite(alpha: float, clip_entries: float | None) -> None:
    student, teacher, head, token = (x.float() if x.is_floating_point() else x for x in inputs())
    student = (400 * student).requires_grad_()
    topk = teacher_topk(-400 * teacher, head, token, 3, 1.0)
    terms = topk_divergence(student, head, token, topk, alpha=alpha, clip_entries=clip_entries)
    terms.divergence_N.sum().backward()
    assert terms.divergence_N.isfinite().all() and student.grad.isfinite().all()


@pytest.mark.parametrize("alpha", ALPHAS)
def test_a_fault_is_not_hidden_by_the_clip(alpha: float) -> None:
    student, teacher, head, token = inputs()
    student[3, 0] = math.inf
    teacher[5, 0] = math.nan
    topk = teacher_topk(teacher, head, token, 4, 1.0)
    divergence = topk_divergence(
        student, head, token, topk, alpha=alpha, clip=0.01, clip_entries=0.01
    ).divergence_N
    assert divergence.isfinite().logical_not().nonzero().flatten().tolist() == [3, 5]


@pytest.mark.parametrize("trained_head", [False, True])
def test_low_precision_inputs_are_accumulated_in_float32(trained_head: bool) -> None:
    student, teacher, head, token = inputs(N=9, H=64, V=5000, scale=3.0)
    student, teacher, head = (x.bfloat16() for x in (student, teacher, head))

    def run(dtype: torch.dtype) -> tuple[Tensor, ...]:
        hidden = student.to(dtype, copy=True).requires_grad_()
        own_head = head.to(dtype, copy=True).requires_grad_(trained_head)
        topk = teacher_topk(teacher.to(dtype), head.to(dtype), token, 20, 0.7, chunk_tokens=4)
        terms = topk_divergence(
            hidden, own_head, token, topk, alpha=0.3, temperature=0.7, chunk_tokens=4
        )
        terms.divergence_N.sum().backward()
        assert hidden.grad is not None and hidden.grad.dtype == dtype
        gradients = (hidden.grad, own_head.grad) if trained_head else (hidden.grad,)
        return terms.divergence_N, *gradients

    (divergence, *gradients), (exact, *exact_gradients) = run(torch.bfloat16), run(torch.float64)
    assert divergence.dtype == torch.float32 and relative(divergence, exact) < 1e-5
    for gradient, exact_gradient in zip(gradients, exact_gradients, strict=True):
        # Half a unit in the last place of bfloat16.
        assert relative(gradient, exact_gradient) < 3e-3


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("trained_head", [False, True])
def test_no_tensor_is_larger_than_a_chunk_of_logits(alpha: float, trained_head: bool) -> None:
    student, teacher, head, token = inputs(N=100, H=6, V=300)
    student.requires_grad_()
    head.requires_grad_(trained_head)
    with Largest() as largest:
        topk = teacher_topk(teacher, head, token, 5, 0.7, chunk_tokens=8)
        terms = topk_divergence(
            student, head, token, topk, alpha=alpha, temperature=0.7, chunk_tokens=8
        )
        (terms.divergence_N.sum() + terms.student_logprob_N.sum()).backward()
    assert largest.elements == 8 * 300


def test_no_tokens() -> None:
    student, teacher, head, token = (x[:0] if x.shape[0] == 13 else x for x in inputs())
    student.requires_grad_()
    topk = teacher_topk(teacher, head, token, 4, 1.0)
    assert topk.token_NK.shape == (0, 4)
    terms = topk_divergence(student, head, token, topk, alpha=0.3)
    terms.divergence_N.sum().backward()
    assert len(terms.divergence_N) == 0 and student.grad.shape == student.shape


def test_what_does_not_fit_is_refused() -> None:
    student, teacher, head, token = inputs()
    topk = teacher_topk(teacher, head, token, 4, 1.0)
    with pytest.raises(ValueError, match="top-k tensors"):
        topk_divergence(student[:-1], head, token[:-1], topk, alpha=0.0)
    with pytest.raises(ValueError, match="vocabulary of 3"):
        topk_divergence(student, head[:3], token, topk, alpha=0.0)
    with pytest.raises(ValueError, match="k 0"):
        teacher_topk(teacher, head, token, 0, 1.0)
