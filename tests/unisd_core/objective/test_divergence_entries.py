"""The bound on each vocabulary entry's contribution (OPSD)."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.unisd_core.objective.reference import (
    assert_same_gradients,
    leaves,
    naive_terms,
    relative,
)
from tests.unisd_core.objective.test_divergence import Largest, cases, inputs
from unisd_core.objective.divergence import TokenTerms, linear_divergence

ALPHAS = (0.0, 0.3, 1.0)
# Small enough that about one entry in ten of ``inputs`` is clipped.
BOUND = 0.03


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("trained_head", [False, True])
@pytest.mark.parametrize("clip", [None, 0.02])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_values_and_gradients_agree_with_full_logits(
    alpha: float, temperature: float, clip: float | None, trained_head: bool, dtype: torch.dtype
) -> None:
    student, teacher, head, token = inputs()
    upstream = torch.linspace(0.2, 1.7, len(token), dtype=torch.float64)
    exact, own = leaves(student, head, trained_head, dtype)
    expected, *_ = naive_terms(
        exact[0],
        teacher,
        exact[1],
        token,
        alpha=alpha,
        temperature=temperature,
        clip=clip,
        clip_entries=BOUND,
    )
    (upstream * expected).sum().backward()

    got = linear_divergence(
        own[0],
        teacher.to(dtype),
        own[1],
        token,
        alpha=alpha,
        temperature=temperature,
        clip=clip,
        clip_entries=BOUND,
        chunk_tokens=5,
    )
    (upstream.to(dtype) * got.divergence_N).sum().backward()

    tolerance = 2e-5 if dtype == torch.float32 else 1e-12
    assert relative(got.divergence_N, expected) < tolerance
    assert_same_gradients(own, exact, tolerance)
    if clip is not None:
        assert got.clipped_N.any() and not got.clipped_N.all()


@pytest.mark.parametrize("trained_head", [False, True])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_gradcheck(alpha: float, trained_head: bool) -> None:
    student, teacher, head, token = inputs(N=4, H=3, V=7)
    student.requires_grad_()
    teacher_head = head.clone()
    head.requires_grad_(trained_head)

    def divergence(student_NH: Tensor, head_VH: Tensor) -> Tensor:
        return linear_divergence(
            student_NH,
            teacher,
            head_VH,
            token,
            alpha=alpha,
            temperature=0.8,
            clip_entries=BOUND,
            teacher_head_VH=teacher_head,
            chunk_tokens=3,
        ).divergence_N

    assert torch.autograd.gradcheck(divergence, (student, head))


def with_gradient(
    case: tuple[Tensor, Tensor, Tensor, Tensor], alpha: float, clip_entries: float | None
) -> tuple[TokenTerms, Tensor]:
    student, teacher, head, token = case
    hidden = student.clone().requires_grad_()
    terms = linear_divergence(
        hidden, teacher, head, token, alpha=alpha, clip_entries=clip_entries, chunk_tokens=3
    )
    terms.divergence_N.sum().backward()
    assert hidden.grad is not None
    return terms, hidden.grad


@settings(max_examples=40, deadline=None)
@given(cases, st.sampled_from(ALPHAS))
def test_a_bound_above_all_entries_changes_nothing(
    case: tuple[Tensor, Tensor, Tensor, Tensor], alpha: float
) -> None:
    free, free_gradient = with_gradient(case, alpha, None)
    bounded, gradient = with_gradient(case, alpha, 1e6)
    assert torch.allclose(bounded.divergence_N, free.divergence_N, rtol=1e-9, atol=1e-12)
    assert torch.allclose(gradient, free_gradient, rtol=1e-9, atol=1e-10)
    assert torch.all(bounded.divergence_N >= 0)


@settings(max_examples=40, deadline=None)
@given(cases, st.sampled_from(ALPHAS), st.floats(1e-3, 1.0), st.floats(1.0, 5.0))
def test_a_tighter_bound_never_raises_the_divergence(
    case: tuple[Tensor, Tensor, Tensor, Tensor], alpha: float, bound: float, factor: float
) -> None:
    tight, _ = with_gradient(case, alpha, bound)
    loose, _ = with_gradient(case, alpha, bound * factor)
    assert torch.all(tight.divergence_N <= loose.divergence_N + 1e-12)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_a_bound_that_acts_changes_value_and_gradient(alpha: float) -> None:
    free, free_gradient = with_gradient(inputs(), alpha, None)
    bounded, gradient = with_gradient(inputs(), alpha, BOUND)
    lower = bounded.divergence_N < free.divergence_N - 1e-3
    assert lower.any()
    assert torch.all((gradient - free_gradient)[lower].abs().amax(-1) > 1e-3)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_bounded_sum_may_be_negative(alpha: float) -> None:
    terms, _ = with_gradient(inputs(), alpha, 1e-3)
    assert torch.all(terms.divergence_N < 0)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_faults_are_seen_and_underflow_stays_finite(alpha: float) -> None:
    student, teacher, head, token = (x.float() if x.is_floating_point() else x for x in inputs())
    far = 400 * student, -400 * teacher, head, token
    terms, gradient = with_gradient(far, alpha, BOUND)
    assert terms.divergence_N.isfinite().all() and gradient.isfinite().all()
    student[3, 0] = math.inf
    teacher[5, 0] = math.nan
    divergence = linear_divergence(
        student, teacher, head, token, alpha=alpha, clip=0.01, clip_entries=BOUND
    ).divergence_N
    assert divergence.isfinite().logical_not().nonzero().flatten().tolist() == [3, 5]


def test_logits_that_overflow_are_not_hidden_by_the_bound() -> None:
    student, teacher = torch.tensor([[3e38]]), torch.tensor([[0.0]])
    head, token = torch.tensor([[1.0], [-1.0]]), torch.tensor([0])
    terms = linear_divergence(student, teacher, head, token, alpha=0.0, clip_entries=0.1)
    assert not terms.divergence_N.isfinite()


@pytest.mark.parametrize("alpha", ALPHAS)
def test_no_tensor_is_larger_than_a_chunk_of_logits(alpha: float) -> None:
    student, teacher, head, token = inputs(N=100, H=6, V=300)
    student.requires_grad_()
    with Largest() as largest:
        terms = linear_divergence(
            student, teacher, head, token, alpha=alpha, clip_entries=BOUND, chunk_tokens=8
        )
        terms.divergence_N.sum().backward()
    assert largest.elements == 8 * 300
