"""Exact full-vocabulary terms from hidden states, in chunks, with their own backward.

The LM head is applied to a few hundred tokens at a time, so logits never exist for more
than one chunk. Where the head is frozen (LoRA), the gradients with respect to the hidden states
are formed while a chunk's logits are alive and saved as (N, H); the backward pass is then one
product per element. Where the head is trained, the chunks are computed again.

Only the student's side carries gradients. Logits are ``hidden @ head.T`` and no more: a model
that scales, biases or soft-caps its logits must fold that in or be refused by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unisd_core.objective.logit_terms import divergence_and_gradient, spare_buffers

# Rows of a low-precision head that are widened at one time.
HEAD_BLOCK = 4096


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


@dataclass(frozen=True)
class _Spec:
    alpha: float
    temperature: float
    clip: float | None
    chunk_tokens: int
    logprob_grad: bool
    grad_enabled: bool


# Receives the chunk's rows, the output's position (0 divergence, 1 student log-prob), its gradient
# in the unscaled logits as a scratch (n, V) tensor, and a factor per token still to be applied.
_Sink = Callable[[slice, int, Tensor, Tensor | None], None]


def linear_divergence(
    student_hidden_NH: Tensor,
    teacher_hidden_NH: Tensor,
    head_VH: Tensor,
    token_N: Tensor,
    *,
    alpha: float,
    temperature: float = 1.0,
    clip: float | None = None,
    teacher_head_VH: Tensor | None = None,
    chunk_tokens: int = 256,
    logprob_grad: bool = True,
) -> TokenTerms:
    """Token divergence between student and teacher over the whole vocabulary (paper, Eq. 1, 7, 8).

    Hidden states are final ones (after the last norm) at the positions that predict ``token_N``.
    ``alpha`` 0 is KL(teacher || student), 1 is KL(student || teacher), between is the JSD with
    mass alpha on the teacher; both distributions are softened by ``temperature`` without a
    squared-temperature factor. ``clip`` bounds one token's divergence in nats (section 2.5).
    ``teacher_head_VH`` defaults to the student's head, whose gradient (if it is trained) comes
    from the student's logits alone. ``logprob_grad=False`` saves one matrix product per chunk where
    the log-probs are only reported. Arithmetic is float32, or float64 for float64 hidden states.

    Raises ValueError on shapes that do not fit.
    """
    _check_shapes(student_hidden_NH, head_VH, token_N)
    teacher_head_VH = head_VH if teacher_head_VH is None else teacher_head_VH
    _check_shapes(teacher_hidden_NH, teacher_head_VH, token_N)
    if not 0.0 <= alpha <= 1.0 or temperature <= 0.0:
        raise ValueError(f"alpha {alpha} must lie in [0, 1] and temperature {temperature} above 0")
    spec = _Spec(alpha, temperature, clip, chunk_tokens, logprob_grad, torch.is_grad_enabled())
    return TokenTerms(
        *_linear_terms(
            student_hidden_NH,
            head_VH,
            teacher_hidden_NH.detach(),
            teacher_head_VH.detach(),
            token_N,
            spec,
        )
    )


def linear_logprob(
    student_hidden_NH: Tensor, head_VH: Tensor, token_N: Tensor, chunk_tokens: int = 256
) -> Tensor:
    """Differentiable log-prob of each sampled token at temperature 1, shape (N,), in nats.

    Raises ValueError on shapes that do not fit.
    """
    _check_shapes(student_hidden_NH, head_VH, token_N)
    spec = _Spec(0.0, 1.0, None, chunk_tokens, True, torch.is_grad_enabled())
    return _linear_terms(student_hidden_NH, head_VH, None, None, token_N, spec)[1]


@torch.no_grad()
def sampled_logprobs(
    hidden_NH: Tensor, head_VH: Tensor, token_N: Tensor, chunk_tokens: int = 256
) -> Tensor:
    """Log-prob of each sampled token at temperature 1 without gradients: what a view contributes.

    Shape (N,), nats. Raises ValueError on shapes that do not fit.
    """
    return linear_logprob(hidden_NH, head_VH, token_N, chunk_tokens)


class _LinearTerms(torch.autograd.Function):
    """Outputs (divergence, student log-prob, teacher log-prob, clipped), each (N,)."""

    @staticmethod
    def forward(
        ctx: Any,
        student_NH: Tensor,
        head_VH: Tensor,
        teacher_NH: Tensor | None,
        teacher_head_VH: Tensor | None,
        token_N: Tensor,
        spec: _Spec,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        dtype = _compute_dtype(student_NH)
        total = len(token_N)
        divergence_N = student_NH.new_zeros(total, dtype=dtype)
        student_logprob_N = torch.zeros_like(divergence_N)
        teacher_logprob_N = torch.zeros_like(divergence_N)
        clipped_N = torch.zeros_like(divergence_N, dtype=torch.bool)

        ctx.head_trained = ctx.needs_input_grad[1]
        save_gradients = spec.grad_enabled and ctx.needs_input_grad[0] and not ctx.head_trained
        saved: list[Tensor] = []
        if save_gradients:
            wanted = (teacher_NH is not None, spec.logprob_grad)
            saved = [
                student_NH.new_empty(student_NH.shape if want else (0,), dtype=dtype)
                for want in wanted
            ]

        def pull_back(
            rows: slice, output: int, gradient_NV: Tensor, factor_N: Tensor | None
        ) -> None:
            _times_head(gradient_NV, head_VH, saved[output][rows])
            if factor_N is not None:
                saved[output][rows].mul_(factor_N.unsqueeze(-1))

        with torch.autocast(student_NH.device.type, enabled=False):
            walk = _Walk(student_NH, head_VH, teacher_NH, teacher_head_VH, token_N, spec)
            for rows in walk.chunks():
                terms = walk.terms(rows, pull_back if save_gradients else None)
                divergence_N[rows] = terms.divergence_N
                student_logprob_N[rows] = terms.student_logprob_N
                teacher_logprob_N[rows] = terms.teacher_logprob_N
                clipped_N[rows] = terms.clipped_N

        if ctx.head_trained:
            ctx.save_for_backward(student_NH, head_VH, teacher_NH, teacher_head_VH, token_N)
        else:
            ctx.save_for_backward(*saved)
        ctx.spec = spec
        ctx.student_shape, ctx.student_dtype = student_NH.shape, student_NH.dtype
        without_gradient = [teacher_logprob_N, clipped_N]
        if not spec.logprob_grad:
            without_gradient.append(student_logprob_N)
        ctx.mark_non_differentiable(*without_gradient)
        return divergence_N, student_logprob_N, teacher_logprob_N, clipped_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        upstream_N = upstream[:2]
        if ctx.head_trained:
            return _recomputed_gradients(ctx, upstream_N)
        # Zeros and not None where there are no tokens: data-parallel workers wait for each other's
        # gradients.
        student_grad_NH = upstream_N[0].new_zeros(ctx.student_shape)
        for weight_N, gradient_NH in zip(upstream_N, ctx.saved_tensors, strict=True):
            if gradient_NH.numel():
                student_grad_NH.addcmul_(gradient_NH, weight_N.unsqueeze(-1))
        return student_grad_NH.to(ctx.student_dtype), None, None, None, None, None


_linear_terms: Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]] = _LinearTerms.apply


def _recomputed_gradients(ctx: Any, upstream_N: tuple[Tensor, ...]) -> tuple[Tensor | None, ...]:
    """Gradients of hidden states and head where the head is trained."""
    student_NH, head_VH, teacher_NH, teacher_head_VH, token_N = ctx.saved_tensors
    dtype = _compute_dtype(student_NH)
    student_grad_NH = torch.zeros_like(student_NH, dtype=dtype)
    head_grad_VH = torch.zeros_like(head_VH, dtype=dtype)

    def accumulate(rows: slice, output: int, gradient_NV: Tensor, factor_N: Tensor | None) -> None:
        weight_N = upstream_N[output][rows]
        weight_N = weight_N if factor_N is None else weight_N * factor_N
        gradient_NV.mul_(weight_N.unsqueeze(-1))
        part_NH = torch.empty_like(student_grad_NH[rows])
        _times_head(gradient_NV, head_VH, part_NH)
        student_grad_NH[rows].add_(part_NH)
        head_grad_VH.addmm_(gradient_NV.t(), student_NH[rows].to(dtype))

    with torch.autocast(student_NH.device.type, enabled=False):
        walk = _Walk(student_NH, head_VH, teacher_NH, teacher_head_VH, token_N, ctx.spec)
        for rows in walk.chunks():
            walk.terms(rows, accumulate)
    grads = student_grad_NH.to(student_NH.dtype), head_grad_VH.to(head_VH.dtype)
    return *grads, None, None, None, None


class _Walk:
    """One pass over the tokens, chunk by chunk, in buffers that every chunk uses again.

    A fresh (chunk, V) allocation costs more in page faults than the softmax written into it.
    """

    def __init__(
        self,
        student_NH: Tensor,
        head_VH: Tensor,
        teacher_NH: Tensor | None,
        teacher_head_VH: Tensor | None,
        token_N: Tensor,
        spec: _Spec,
    ) -> None:
        self.student_NH, self.head_VH = student_NH, head_VH
        self.teacher_NH, self.teacher_head_VH = teacher_NH, teacher_head_VH
        self.token_N, self.spec = token_N, spec
        self.dtype = _compute_dtype(student_NH)
        count = 2 if teacher_NH is None else 2 + spare_buffers(spec.alpha)
        size = min(spec.chunk_tokens, len(token_N)), len(head_VH)
        self.buffers = [student_NH.new_empty(size, dtype=self.dtype) for _ in range(count)]

    def chunks(self) -> Iterator[slice]:
        for start in range(0, len(self.token_N), self.spec.chunk_tokens):
            yield slice(start, min(start + self.spec.chunk_tokens, len(self.token_N)))

    def terms(self, rows: slice, sink: _Sink | None) -> TokenTerms:
        """Values of one chunk; ``sink`` is shown each output's logit gradient in turn."""
        spec, token_N = self.spec, self.token_N[rows]
        student, teacher, *spare = (buffer[: len(token_N)] for buffer in self._roles())
        self._log_softmax(self.student_NH[rows], self.head_VH, spare[0], student)
        student_logprob_N = _pick(student, token_N)
        if sink is not None and spec.logprob_grad:
            gradient_NV = torch.exp(student, out=spare[0]).neg_()
            gradient_NV.scatter_add_(1, token_N.unsqueeze(-1), torch.ones_like(gradient_NV[:, :1]))
            sink(rows, 1, gradient_NV, None)
        if self.teacher_NH is None or self.teacher_head_VH is None:
            nothing_N = torch.zeros_like(student_logprob_N)
            return TokenTerms(nothing_N, student_logprob_N, nothing_N, nothing_N.bool())

        self._log_softmax(self.teacher_NH[rows], self.teacher_head_VH, spare[0], teacher)
        teacher_logprob_N = _pick(teacher, token_N)
        if spec.temperature != 1.0:
            student, spare[0] = self._soften(student, spare[0])
            teacher, spare[0] = self._soften(teacher, spare[0])
        divergence_N, gradient_NV = divergence_and_gradient(student, teacher, spare, spec.alpha)
        clipped_N = torch.zeros_like(divergence_N, dtype=torch.bool)
        if spec.clip is not None:
            # A divergence that is not finite is a fault to be seen, not one to be clipped.
            clipped_N = (divergence_N > spec.clip) & divergence_N.isfinite()
            divergence_N = divergence_N.masked_fill(clipped_N, spec.clip)
        if sink is not None:
            sink(rows, 0, gradient_NV, (~clipped_N).to(self.dtype) / spec.temperature)
        return TokenTerms(divergence_N, student_logprob_N, teacher_logprob_N, clipped_N)

    def _roles(self) -> list[Tensor]:
        """Buffers as (student, teacher, spare...); without a teacher only one is spare."""
        if self.teacher_NH is None:
            return [self.buffers[0], self.buffers[0], self.buffers[1]]
        return self.buffers

    def _log_softmax(
        self, hidden_NH: Tensor, head_VH: Tensor, logits_NV: Tensor, out_NV: Tensor
    ) -> None:
        _logits(hidden_NH.to(self.dtype), head_VH, logits_NV)
        torch.log_softmax(logits_NV, -1, out=out_NV)

    def _soften(self, logprob_NV: Tensor, spare_NV: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probs at the spec's temperature from those at 1; returns (result, free buffer)."""
        logprob_NV.div_(self.spec.temperature)
        torch.log_softmax(logprob_NV, -1, out=spare_NV)
        return spare_NV, logprob_NV


def _compute_dtype(hidden: Tensor) -> torch.dtype:
    return torch.promote_types(hidden.dtype, torch.float32)


def _pick(logprob_NV: Tensor, token_N: Tensor) -> Tensor:
    return logprob_NV.gather(1, token_N.unsqueeze(-1)).squeeze(-1)


def _logits(hidden_NH: Tensor, head_VH: Tensor, out_NV: Tensor) -> None:
    """``out = hidden @ head.T`` in the type of ``hidden``; a narrower head is widened by block."""
    if head_VH.dtype == hidden_NH.dtype:
        torch.mm(hidden_NH, head_VH.t(), out=out_NV)
        return
    for start in range(0, len(head_VH), HEAD_BLOCK):
        block_VH = head_VH[start : start + HEAD_BLOCK].to(hidden_NH.dtype)
        out_NV[:, start : start + HEAD_BLOCK] = hidden_NH @ block_VH.t()


def _times_head(gradient_NV: Tensor, head_VH: Tensor, out_NH: Tensor) -> None:
    """``out = gradient @ head`` in the type of ``gradient``."""
    if head_VH.dtype == gradient_NV.dtype:
        torch.mm(gradient_NV, head_VH, out=out_NH)
        return
    out_NH.zero_()
    for start in range(0, len(head_VH), HEAD_BLOCK):
        block_VH = head_VH[start : start + HEAD_BLOCK].to(gradient_NV.dtype)
        out_NH.addmm_(gradient_NV[:, start : start + HEAD_BLOCK], block_VH)


def _check_shapes(hidden_NH: Tensor, head_VH: Tensor, token_N: Tensor) -> None:
    if hidden_NH.shape != (len(token_N), head_VH.shape[1]):
        raise ValueError(
            f"hidden states {tuple(hidden_NH.shape)} do not fit {len(token_N)} tokens "
            f"and a head {tuple(head_VH.shape)}"
        )
