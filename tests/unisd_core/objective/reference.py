"""Naive float64 versions of the objective's mathematics, with autograd through full logits."""

from __future__ import annotations

from torch import Tensor


def naive_terms(
    student_NH: Tensor,
    teacher_NH: Tensor,
    head_VH: Tensor,
    token_N: Tensor,
    *,
    alpha: float,
    temperature: float = 1.0,
    clip: float | None = None,
    teacher_head_VH: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """(divergence_N, student_logprob_N, teacher_logprob_N) from full logits."""
    teacher_head_VH = head_VH if teacher_head_VH is None else teacher_head_VH
    student_NV = student_NH @ head_VH.T
    teacher_NV = (teacher_NH @ teacher_head_VH.T).detach()
    log_q = (student_NV / temperature).log_softmax(-1)
    log_p = (teacher_NV / temperature).log_softmax(-1)
    q, p = log_q.exp(), log_p.exp()
    if alpha == 0:
        divergence_N = (p * (log_p - log_q)).sum(-1)
    elif alpha == 1:
        divergence_N = (q * (log_q - log_p)).sum(-1)
    else:
        log_m = ((1 - alpha) * q + alpha * p).log()
        divergence_N = alpha * (p * (log_p - log_m)).sum(-1)
        divergence_N = divergence_N + (1 - alpha) * (q * (log_q - log_m)).sum(-1)
    if clip is not None:
        divergence_N = divergence_N.clamp(max=clip)
    index = token_N[:, None]
    student_logprob_N = student_NV.log_softmax(-1).gather(1, index)[:, 0]
    teacher_logprob_N = teacher_NV.log_softmax(-1).gather(1, index)[:, 0]
    return divergence_N, student_logprob_N, teacher_logprob_N
