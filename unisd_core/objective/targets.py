"""Targets of the student: a teacher's hidden states, or its k most likely tokens.

A target turns one chunk of the student's log-probs into divergences and their gradient in
the student's logits. Targets hold scratch buffers for the largest chunk and nothing of autograd.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from unisd_core.objective.linear import apply_temperature, gather_tokens, head_log_softmax
from unisd_core.objective.logit_terms import divergence_and_gradient, spare_buffers


class TopK(NamedTuple):
    """A teacher's most likely tokens, enough for a divergence over k + 1 buckets."""

    token_NK: Tensor
    """int64 ids of the teacher's k most likely tokens, in any order."""
    logprob_NK: Tensor
    """Their log-probs in nats at the divergence's temperature."""
    sampled_logprob_N: Tensor
    """log pi_T of the sampled token at temperature 1."""


class ChunkDivergence(NamedTuple):
    """One chunk of n tokens."""

    divergence_N: Tensor
    """Nats, before any bound on the token."""
    gradient_NV: Tensor
    """In the student's softened logits, in one of the scratch buffers."""
    teacher_logprob_N: Tensor
    """log pi_T of the sampled token at temperature 1."""


class DivergenceSpec(NamedTuple):
    """How two distributions are compared."""

    alpha: float
    temperature: float
    clip_entries: float | None


class HiddenTarget:
    """The teacher's distribution over the whole vocabulary, from its own hidden states and head."""

    def __init__(
        self, hidden_NH: Tensor, head_VH: Tensor, comparer: DivergenceSpec, like_NV: Tensor
    ) -> None:
        self.hidden_NH, self.head_VH, self.comparer = hidden_NH, head_VH, comparer
        self.buffers = [torch.empty_like(like_NV) for _ in range(spare_buffers(comparer.alpha))]

    def compare(
        self, rows: slice, student_NV: Tensor, scratch_NV: Tensor, token_N: Tensor
    ) -> ChunkDivergence:
        """``student_NV`` are log-probs at temperature 1; both buffers are overwritten."""
        teacher_NV, *more = (buffer[: len(token_N)] for buffer in self.buffers)
        temperature = self.comparer.temperature
        head_log_softmax(self.hidden_NH[rows], self.head_VH, scratch_NV, teacher_NV)
        teacher_logprob_N = gather_tokens(teacher_NV, token_N)
        student_NV, scratch_NV = apply_temperature(student_NV, scratch_NV, temperature)
        teacher_NV, scratch_NV = apply_temperature(teacher_NV, scratch_NV, temperature)
        divergence_N, gradient_NV = divergence_and_gradient(
            student_NV,
            teacher_NV,
            [scratch_NV, *more],
            self.comparer.alpha,
            self.comparer.clip_entries,
        )
        return ChunkDivergence(divergence_N, gradient_NV, teacher_logprob_N)


class TopKTarget:
    """Buckets: the teacher's k most likely tokens, and all others as one."""

    def __init__(self, topk: TopK, comparer: DivergenceSpec) -> None:
        self.topk, self.comparer = topk, comparer

    def compare(
        self, rows: slice, student_NV: Tensor, scratch_NV: Tensor, token_N: Tensor
    ) -> ChunkDivergence:
        """``student_NV`` are log-probs at temperature 1; both buffers are overwritten."""
        token_NK = self.topk.token_NK[rows]
        log_p_NB = self.topk.logprob_NK[rows].to(student_NV.dtype, copy=True)
        student_NV, scratch_NV = apply_temperature(
            student_NV, scratch_NV, self.comparer.temperature
        )
        vocabulary, kept = student_NV.shape[1], token_NK.shape[1]
        log_q_NB = student_NV.gather(1, token_NK)
        if kept < vocabulary:
            tail_log_q_N1 = _condition_on_tail(student_NV, token_NK, scratch_NV)
            log_q_NB = torch.cat([log_q_NB, tail_log_q_N1], -1)
            tail_log_p_N1 = _teacher_tail(log_p_NB, vocabulary - kept)
            log_p_NB = torch.cat([log_p_NB, tail_log_p_N1], -1)
        spare_NB = [torch.empty_like(log_q_NB) for _ in range(spare_buffers(self.comparer.alpha))]
        divergence_N, gradient_NB = divergence_and_gradient(
            log_q_NB, log_p_NB, spare_NB, self.comparer.alpha, self.comparer.clip_entries
        )
        if kept < vocabulary:
            scratch_NV.mul_(gradient_NB[:, kept:])
        scratch_NV.scatter_(1, token_NK, gradient_NB[:, :kept])
        teacher_logprob_N = self.topk.sampled_logprob_N[rows].to(student_NV.dtype)
        return ChunkDivergence(divergence_N, scratch_NV, teacher_logprob_N)


def _condition_on_tail(log_q_NV: Tensor, token_NK: Tensor, out_NV: Tensor) -> Tensor:
    """Log-prob (n, 1) of all tokens but ``token_NK``; ``out_NV`` gets each one's share of it.

    Summed over the tail itself, which keeps its digits where 1 - sum has none. ``log_q_NV`` is
    overwritten.
    """
    log_q_NV.scatter_(1, token_NK, -math.inf)
    torch.log_softmax(log_q_NV, -1, out=out_NV)
    largest, where = log_q_NV.max(-1, keepdim=True)
    tail_N1 = largest - out_NV.gather(1, where)
    out_NV.exp_()
    return tail_N1


def _teacher_tail(logprob_NK: Tensor, others: int) -> Tensor:
    """Log-prob (n, 1) of the ``others`` tokens that did not travel."""
    limits = torch.finfo(logprob_NK.dtype)
    tail_N1 = 1.0 - logprob_NK.double().exp().sum(-1, keepdim=True)
    # Below the rounding of the log-probs the tail is unknown. A smaller floor would charge the
    # student for mass there with tens of nats that the full divergence does not have.
    tail_N1 = tail_N1.clamp_(min=limits.eps).to(logprob_NK.dtype)
    # None of the others is more likely than the least likely token that travelled.
    largest_N1 = logprob_NK.amin(-1, keepdim=True).exp_().mul_(others)
    return torch.minimum(tail_N1, largest_N1).clamp_(min=limits.tiny).log_()
