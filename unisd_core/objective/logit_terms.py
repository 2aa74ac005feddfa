"""Divergences between two tables of log-probs, each with its gradient in the logits.

Knows one chunk of logits at a time and nothing of hidden states. Every function
overwrites its arguments: at a vocabulary of 10^5 the buffers are the cost, not the arithmetic.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unisd_core.objective.entry_clip import (
    clipped_jensen_shannon,
    clipped_kl_student_teacher,
    clipped_kl_teacher_student,
)


def divergence_and_gradient(
    log_q_NV: Tensor,
    log_p_NV: Tensor,
    spare_NV: list[Tensor],
    alpha: float,
    clip_entries: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Divergence of each row in nats, and its gradient in the logits of q.

    ``log_q_NV`` is the student and ``log_p_NV`` the teacher, both normalised; they and the
    ``spare_NV`` buffers (as many as ``spare_buffers(alpha)``) are overwritten. Returns
    ``divergence_N`` and ``gradient_NV``, the latter in one of the given buffers.

    alpha 0 is KL(p || q) and alpha 1 is KL(q || p): they are end points of their own, not the
    limits of the JSD, which vanishes there (paper, Eq. 7 and 8).

    ``clip_entries`` bounds each entry's contribution in nats; with it the sum may be negative.
    """
    if clip_entries is not None:
        if alpha == 0.0:
            return clipped_kl_teacher_student(log_q_NV, log_p_NV, spare_NV[0], clip_entries)
        if alpha == 1.0:
            return clipped_kl_student_teacher(log_q_NV, log_p_NV, spare_NV[0], clip_entries)
        return clipped_jensen_shannon(
            log_q_NV, log_p_NV, spare_NV[0], spare_NV[1], alpha, clip_entries
        )
    if alpha == 0.0:
        return _kl_teacher_student(log_q_NV, log_p_NV, spare_NV[0])
    if alpha == 1.0:
        return _kl_student_teacher(log_q_NV, log_p_NV, spare_NV[0])
    return _jensen_shannon(log_q_NV, log_p_NV, spare_NV[0], spare_NV[1], alpha)


def spare_buffers(alpha: float) -> int:
    """Chunk-sized buffers ``divergence_and_gradient`` needs beside its two inputs."""
    return 1 if alpha in (0.0, 1.0) else 2


def _kl_teacher_student(log_q: Tensor, log_p: Tensor, spare: Tensor) -> tuple[Tensor, Tensor]:
    """sum_v p (log p - log q); gradient q - p."""
    p = torch.exp(log_p, out=spare)
    divergence = log_p.sub_(log_q).mul_(p).sum(-1)
    gradient = log_q.exp_().sub_(p)
    # sum(q - p) is zero up to the rounding of the two normalisers, and cancels what that
    # rounding adds to the divergence: small divergences keep their digits in float32.
    return divergence.add_(gradient.sum(-1)).clamp_(min=0.0), gradient


def _kl_student_teacher(log_q: Tensor, log_p: Tensor, spare: Tensor) -> tuple[Tensor, Tensor]:
    """sum_v q r with r = log q - log p; gradient q (r - divergence)."""
    q = torch.exp(log_q, out=spare)
    ratio = log_q.sub_(log_p)
    normaliser_rounding = log_p.exp_().sub_(q).sum(-1)
    gradient = ratio.mul_(q)
    divergence = gradient.sum(-1)
    gradient.addcmul_(q, divergence.unsqueeze(-1), value=-1.0)
    return divergence.add_(normaliser_rounding).clamp_(min=0.0), gradient


def _jensen_shannon(
    log_q: Tensor, log_p: Tensor, spare: Tensor, mixture: Tensor, alpha: float
) -> tuple[Tensor, Tensor]:
    """alpha KL(p || M) + (1 - alpha) KL(q || M) with M = (1 - alpha) q + alpha p.

    Gradient (1 - alpha) q (log(q / M) - KL(q || M)).
    """
    p = torch.exp(log_p, out=spare)
    log_m = torch.exp(log_q, out=mixture).lerp_(p, alpha)
    # Where both probabilities underflow the mixture is 0; its logarithm must stay finite
    # because it is multiplied by that same 0.
    log_m.clamp_(min=torch.finfo(log_m.dtype).tiny).log_()
    kl_p_m = log_p.sub_(log_m).mul_(p).sum(-1)
    q = torch.exp(log_q, out=spare)
    gradient = log_q.sub_(log_m).mul_(q)
    kl_q_m = gradient.sum(-1)
    gradient.addcmul_(q, kl_q_m.unsqueeze(-1), value=-1.0).mul_(1.0 - alpha)
    return kl_p_m.lerp_(kl_q_m, 1.0 - alpha).clamp_(min=0.0), gradient
