"""Exact full-vocabulary terms from hidden states, in chunks, with their own backward.

The LM head is applied to a few hundred tokens at a time, so logits never exist for more
than one chunk. Where the head is frozen (LoRA), the gradients with respect to the hidden states
are formed while a chunk's logits are alive and saved as (N, H); the backward pass is then one
product per element. Where the head is trained, the chunks are computed again.

Only the student's side carries gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unisd_core.objective.linear import compute_dtype, gather_tokens, head_log_softmax, times_head
from unisd_core.objective.targets import DivergenceSpec, HiddenTarget, TopK, TopKTarget


class TokenTerms(NamedTuple):
    """What one chunk of logits yields per completion token, N tokens in a row."""

    divergence_N: Tensor
    """Nats, at the given temperature, after clipping. Differentiable."""
    student_logprob_N: Tensor
    """log pi_theta of the sampled token at temperature 1. Differentiable unless switched off."""
    teacher_logprob_N: Tensor
    """log pi_T of the sampled token at temperature 1. No gradient."""
    clipped_N: Tensor
    """bool: the divergence exceeded the clip and has no gradient."""
    raw_N: Tensor | None = None
    """The divergence before the clip on tokens (after that on entries); None where there is no
    divergence. No gradient."""


@dataclass(frozen=True)
class ChunkSpec:
    """Settings of one walk over the tokens."""

    comparer: DivergenceSpec
    clip: float | None
    chunk_tokens: int
    logprob_grad: bool
    grad_enabled: bool


# Receives the chunk's rows, the output's position (0 divergence, 1 student log-prob), its gradient
# in the unscaled logits as a scratch (n, V) tensor, and a factor per token still to be applied.
_Sink = Callable[[slice, int, Tensor, Tensor | None], None]


def walk_terms(
    student_NH: Tensor,
    head_VH: Tensor,
    token_N: Tensor,
    spec: ChunkSpec,
    teacher: tuple[Tensor, ...],
) -> TokenTerms:
    """Terms of all tokens, differentiable in student and head.

    ``teacher`` is empty (then only the student's log-probs mean anything), the teacher's
    (hidden_NH, head_VH), or a ``TopK``.
    """
    return TokenTerms(*_apply(student_NH, head_VH, token_N, spec, *teacher))


class _WalkTerms(torch.autograd.Function):
    """Outputs the fields of ``TokenTerms``, each (N,)."""

    @staticmethod
    def forward(
        ctx: Any,
        student_NH: Tensor,
        head_VH: Tensor,
        token_N: Tensor,
        spec: ChunkSpec,
        *teacher: Tensor,
    ) -> tuple[Tensor, ...]:
        dtype = compute_dtype(student_NH)
        numbers = [student_NH.new_zeros(len(token_N), dtype=dtype) for _ in range(4)]
        divergence_N, student_logprob_N, teacher_logprob_N, raw_N = numbers
        clipped_N = torch.zeros_like(divergence_N, dtype=torch.bool)
        outputs = divergence_N, student_logprob_N, teacher_logprob_N, clipped_N, raw_N

        ctx.head_trained = ctx.needs_input_grad[1]
        save_gradients = spec.grad_enabled and ctx.needs_input_grad[0] and not ctx.head_trained
        saved: list[Tensor] = []
        if save_gradients:
            wanted = (bool(teacher), spec.logprob_grad)
            saved = [
                student_NH.new_empty(student_NH.shape if want else (0,), dtype=dtype)
                for want in wanted
            ]

        def pull_back(
            rows: slice, output: int, gradient_NV: Tensor, factor_N: Tensor | None
        ) -> None:
            times_head(gradient_NV, head_VH, saved[output][rows])
            if factor_N is not None:
                saved[output][rows].mul_(factor_N.unsqueeze(-1))

        with torch.autocast(student_NH.device.type, enabled=False):
            chunked_terms = _Walk(student_NH, head_VH, token_N, spec, teacher)
            for rows in chunked_terms.chunks():
                terms = chunked_terms.terms(rows, pull_back if save_gradients else None)
                for whole_N, part_N in zip(outputs, terms, strict=True):
                    whole_N[rows] = part_N

        if ctx.head_trained:
            ctx.save_for_backward(student_NH, head_VH, token_N, *teacher)
        else:
            ctx.save_for_backward(*saved)
        ctx.spec, ctx.teacher_inputs = spec, len(teacher)
        ctx.student_shape, ctx.student_dtype = student_NH.shape, student_NH.dtype
        without_gradient = [teacher_logprob_N, clipped_N, raw_N]
        if not spec.logprob_grad:
            without_gradient.append(student_logprob_N)
        ctx.mark_non_differentiable(*without_gradient)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        upstream_N = upstream[:2]
        others = (None,) * (2 + ctx.teacher_inputs)
        if ctx.head_trained:
            return *_recomputed_gradients(ctx, upstream_N), *others
        # Zeros and not None where there are no tokens: data-parallel workers wait for each other's
        # gradients.
        student_grad_NH = upstream_N[0].new_zeros(ctx.student_shape)
        for weight_N, gradient_NH in zip(upstream_N, ctx.saved_tensors, strict=True):
            if gradient_NH.numel():
                student_grad_NH.addcmul_(gradient_NH, weight_N.unsqueeze(-1))
        return student_grad_NH.to(ctx.student_dtype), None, *others


_apply: Callable[..., tuple[Tensor, Tensor, Tensor, Tensor, Tensor]] = _WalkTerms.apply


def _recomputed_gradients(ctx: Any, upstream_N: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Gradients of hidden states and head where the head is trained."""
    student_NH, head_VH, token_N, *teacher = ctx.saved_tensors
    dtype = compute_dtype(student_NH)
    student_grad_NH = torch.zeros_like(student_NH, dtype=dtype)
    head_grad_VH = torch.zeros_like(head_VH, dtype=dtype)

    def accumulate(rows: slice, output: int, gradient_NV: Tensor, factor_N: Tensor | None) -> None:
        weight_N = upstream_N[output][rows]
        weight_N = weight_N if factor_N is None else weight_N * factor_N
        gradient_NV.mul_(weight_N.unsqueeze(-1))
        part_NH = torch.empty_like(student_grad_NH[rows])
        times_head(gradient_NV, head_VH, part_NH)
        student_grad_NH[rows].add_(part_NH)
        head_grad_VH.addmm_(gradient_NV.t(), student_NH[rows].to(dtype))

    with torch.autocast(student_NH.device.type, enabled=False):
        chunked_terms = _Walk(student_NH, head_VH, token_N, ctx.spec, tuple(teacher))
        for rows in chunked_terms.chunks():
            chunked_terms.terms(rows, accumulate)
    return student_grad_NH.to(student_NH.dtype), head_grad_VH.to(head_VH.dtype)


class _Walk:
    """One pass over the tokens, chunk by chunk, in buffers that every chunk uses again.

    A fresh (chunk, V) allocation costs more in page faults than the softmax written into it.
    """

    def __init__(
        self,
        student_NH: Tensor,
        head_VH: Tensor,
        token_N: Tensor,
        spec: ChunkSpec,
        teacher: tuple[Tensor, ...],
    ) -> None:
        self.student_NH, self.head_VH = student_NH, head_VH
        self.token_N, self.spec = token_N, spec
        self.dtype = compute_dtype(student_NH)
        size = min(spec.chunk_tokens, len(token_N)), len(head_VH)
        self.student_NV = student_NH.new_empty(size, dtype=self.dtype)
        self.scratch_NV = torch.empty_like(self.student_NV)
        self.target: HiddenTarget | TopKTarget | None = None
        if len(teacher) == len(TopK._fields):
            self.target = TopKTarget(TopK(*teacher), spec.comparer)
        elif teacher:
            hidden_NH, teacher_head_VH = teacher
            self.target = HiddenTarget(hidden_NH, teacher_head_VH, spec.comparer, self.student_NV)

    def chunks(self) -> Iterator[slice]:
        for start in range(0, len(self.token_N), self.spec.chunk_tokens):
            yield slice(start, min(start + self.spec.chunk_tokens, len(self.token_N)))

    def terms(self, rows: slice, sink: _Sink | None) -> tuple[Tensor, ...]:
        """Outputs of one chunk; ``sink`` is shown each output's logit gradient in turn."""
        spec, token_N = self.spec, self.token_N[rows]
        student_NV = self.student_NV[: len(token_N)]
        scratch_NV = self.scratch_NV[: len(token_N)]
        head_log_softmax(self.student_NH[rows], self.head_VH, scratch_NV, student_NV)
        student_logprob_N = gather_tokens(student_NV, token_N)
        if sink is not None and spec.logprob_grad:
            gradient_NV = torch.exp(student_NV, out=scratch_NV).neg_()
            gradient_NV.scatter_add_(1, token_N.unsqueeze(-1), torch.ones_like(gradient_NV[:, :1]))
            sink(rows, 1, gradient_NV, None)
        if self.target is None:
            nothing_N = torch.zeros_like(student_logprob_N)
            return nothing_N, student_logprob_N, nothing_N, nothing_N.bool(), nothing_N

        raw_N, gradient_NV, teacher_logprob_N = self.target.compare(
            rows, student_NV, scratch_NV, token_N
        )
        divergence_N, clipped_N = raw_N, torch.zeros_like(raw_N, dtype=torch.bool)
        if spec.clip is not None:
            # A divergence that is not finite is a fault to be seen, not one to be clipped.
            clipped_N = (raw_N > spec.clip) & raw_N.isfinite()
            divergence_N = raw_N.masked_fill(clipped_N, spec.clip)
        if sink is not None:
            sink(rows, 0, gradient_NV, (~clipped_N).to(self.dtype) / spec.comparer.temperature)
        return divergence_N, student_logprob_N, teacher_logprob_N, clipped_N, raw_N
