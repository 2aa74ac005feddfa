"""Naive float64 versions of the objective's mathematics, with autograd through full logits."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def naive_divergence(
    log_q: Tensor,
    log_p: Tensor,
    alpha: float,
    clip_entries: float = math.inf,
    clip: float = math.inf,
) -> Tensor:
    """Divergence of each row of two tables of log-probs, entries and sums bounded."""
    q, p = log_q.exp(), log_p.exp()
    if alpha == 0:
        entries = p * (log_p - log_q)
    elif alpha == 1:
        entries = q * (log_q - log_p)
    else:
        log_m = ((1 - alpha) * q + alpha * p).log()
        entries = alpha * p * (log_p - log_m) + (1 - alpha) * q * (log_q - log_m)
    return entries.clamp(max=clip_entries).sum(-1).clamp(max=clip)


def naive_terms(
    student_NH: Tensor,
    teacher_NH: Tensor,
    head_VH: Tensor,
    token_N: Tensor,
    *,
    alpha: float,
    temperature: float = 1.0,
    clip: float | None = None,
    clip_entries: float | None = None,
    teacher_head_VH: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """(divergence_N, student_logprob_N, teacher_logprob_N) from full logits."""
    teacher_head_VH = head_VH if teacher_head_VH is None else teacher_head_VH
    clip = math.inf if clip is None else clip
    clip_entries = math.inf if clip_entries is None else clip_entries
    student_NV = student_NH @ head_VH.T
    teacher_NV = (teacher_NH @ teacher_head_VH.T).detach()
    log_q = (student_NV / temperature).log_softmax(-1)
    log_p = (teacher_NV / temperature).log_softmax(-1)
    divergence_N = naive_divergence(log_q, log_p, alpha, clip_entries, clip)
    index = token_N[:, None]
    student_logprob_N = student_NV.log_softmax(-1).gather(1, index)[:, 0]
    teacher_logprob_N = teacher_NV.log_softmax(-1).gather(1, index)[:, 0]
    return divergence_N, student_logprob_N, teacher_logprob_N


def leaves(
    student: Tensor, head: Tensor, trained_head: bool, dtype: torch.dtype
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(states, head) with gradients in float64 for the naive version, and again in ``dtype``."""
    exact, own = (
        (student.to(kind, copy=True).requires_grad_(), head.to(kind, copy=True))
        for kind in (torch.float64, dtype)
    )
    for pair in (exact, own):
        pair[1].requires_grad_(trained_head)
    return exact, own


def relative(got: Tensor, expected: Tensor) -> float:
    """Distance of ``got`` from ``expected`` over the norm of the latter."""
    expected = expected.detach()
    return float((got.detach().double() - expected).norm() / expected.norm())


def assert_same_gradients(
    own: tuple[Tensor, Tensor], exact: tuple[Tensor, Tensor], tolerance: float
) -> None:
    """Gradients of states and, where it is trained, head agree with those of the naive version."""
    for got, expected in zip(own, exact, strict=True):
        if expected.requires_grad:
            assert got.grad is not None and expected.grad is not None
            assert relative(got.grad, expected.grad) < tolerance
