"""Divergences whose contributions are bounded per vocabulary entry before the sum (OPSD).

UniSD bounds the sum (paper, section on clipping); this bounds each summand. Entry v contributes
min(e_v, bound) and passes no gradient where the bound acts. Arguments are overwritten, as in
``logit_terms``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def clipped_kl_teacher_student(
    log_q_NV: Tensor, log_p_NV: Tensor, spare_NV: Tensor, bound: float
) -> tuple[Tensor, Tensor]:
    """e = p (log p - log q): (divergence_N in nats, gradient_NV in the logits of q)."""
    p = torch.exp(log_p_NV, out=spare_NV)
    entries = log_p_NV.sub_(log_q_NV).mul_(p)
    q = log_q_NV.exp_()
    rounding_N = q.sum(-1).sub_(p.sum(-1))
    return _bounded(entries, p.neg_(), q, rounding_N, bound)


def clipped_kl_student_teacher(
    log_q_NV: Tensor, log_p_NV: Tensor, spare_NV: Tensor, bound: float
) -> tuple[Tensor, Tensor]:
    """e = q (log q - log p): (divergence_N in nats, gradient_NV in the logits of q)."""
    q = torch.exp(log_q_NV, out=spare_NV)
    ratio = log_q_NV.sub_(log_p_NV)
    rounding_N = log_p_NV.exp_().sub_(q).sum(-1)
    entries = torch.mul(ratio, q, out=log_p_NV)
    return _bounded(entries, ratio.add_(1.0).mul_(q), q, rounding_N, bound)


def clipped_jensen_shannon(
    log_q_NV: Tensor,
    log_p_NV: Tensor,
    spare_NV: Tensor,
    mixture_NV: Tensor,
    alpha: float,
    bound: float,
) -> tuple[Tensor, Tensor]:
    """e = alpha p log(p/M) + (1 - alpha) q log(q/M): (divergence_N, gradient_NV) as above."""
    p = torch.exp(log_p_NV, out=spare_NV)
    log_m = torch.exp(log_q_NV, out=mixture_NV).lerp_(p, alpha)
    # Finite where both probabilities underflow, because it is multiplied by their 0.
    log_m.clamp_(min=torch.finfo(log_m.dtype).tiny).log_()
    entries = log_p_NV.sub_(log_m).mul_(p).mul_(alpha)
    q = torch.exp(log_q_NV, out=spare_NV)
    pull = log_q_NV.sub_(log_m).mul_(q).mul_(1.0 - alpha)
    entries.add_(pull)
    return _bounded(entries, pull, q, torch.zeros_like(entries[:, 0]), bound)


def _bounded(
    entries: Tensor, pull: Tensor, q: Tensor, rounding_N: Tensor, bound: float
) -> tuple[Tensor, Tensor]:
    """Bounded sum of ``entries`` and its logit gradient; ``pull`` is q_v d e_v / d q_v.

    ``rounding_N`` is what the normalisers' rounding takes from the sum.
    """
    # An entry that is not finite is a fault to be seen, not one to be clipped.
    clipped = (entries > bound).logical_and_(entries != math.inf)
    divergence_N = entries.masked_fill_(clipped, bound).sum(-1).add_(rounding_N)
    # Only the sum of all entries is bounded below by 0.
    divergence_N = torch.where(clipped.any(-1), divergence_N, divergence_N.clamp(min=0.0))
    gradient = pull.masked_fill_(clipped, 0.0)
    gradient.addcmul_(q, gradient.sum(-1, keepdim=True), value=-1.0)
    return divergence_N, gradient
