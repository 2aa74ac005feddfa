"""Token divergences and log-probs of a micro-batch, without the logits of more than one chunk.

The functions a term or a scorer calls. How the chunks are walked and differentiated is in
``walk``; what the student is compared with, in ``targets``; the divergences themselves, in
``logit_terms``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unisd_core.objective.chunked_terms import ChunkSpec, TokenTerms, walk_terms
from unisd_core.objective.linear import (
    apply_temperature,
    check_shapes,
    compute_dtype,
    gather_tokens,
    head_log_softmax,
)
from unisd_core.objective.targets import DivergenceSpec, TopK

__all__ = [
    "TokenTerms",
    "TopK",
    "linear_divergence",
    "linear_logprob",
    "sampled_logprobs",
    "teacher_topk",
    "topk_divergence",
]


def linear_divergence(
    student_hidden_NH: Tensor,
    teacher_hidden_NH: Tensor,
    head_VH: Tensor,
    token_N: Tensor,
    *,
    alpha: float,
    temperature: float = 1.0,
    clip: float | None = None,
    clip_entries: float | None = None,
    teacher_head_VH: Tensor | None = None,
    chunk_tokens: int = 256,
    logprob_grad: bool = True,
) -> TokenTerms:
    """Token divergence between student and teacher over the whole vocabulary (paper, Eq. 1, 7, 8).

    Hidden states are final ones (after the last norm) at the positions that predict ``token_N``.
    ``alpha`` 0 is KL(teacher || student), 1 is KL(student || teacher), between is the JSD with
    mass alpha on the teacher; both distributions are softened by ``temperature`` without a
    squared-temperature factor. ``clip`` bounds one token's divergence in nats (paper, section on
    clipping), after ``clip_entries`` has bounded the contribution of each vocabulary entry (OPSD),
    which may leave a divergence below 0. ``teacher_head_VH`` defaults to the student's head, whose
    gradient (if it is trained) comes from the student's logits alone. ``logprob_grad=False`` saves
    one matrix product per chunk where the log-probs are only reported. Arithmetic is float32, or
    float64 for float64 hidden states.

    Raises ValueError on shapes that do not fit.
    """
    check_shapes(student_hidden_NH, head_VH, token_N)
    teacher_head_VH = head_VH if teacher_head_VH is None else teacher_head_VH
    check_shapes(teacher_hidden_NH, teacher_head_VH, token_N)
    spec = _spec(alpha, temperature, clip, clip_entries, chunk_tokens, logprob_grad)
    teacher = teacher_hidden_NH.detach(), teacher_head_VH.detach()
    return walk_terms(student_hidden_NH, head_VH, token_N, spec, teacher)


def topk_divergence(
    student_hidden_NH: Tensor,
    head_VH: Tensor,
    token_N: Tensor,
    topk: TopK,
    *,
    alpha: float,
    temperature: float = 1.0,
    clip: float | None = None,
    clip_entries: float | None = None,
    chunk_tokens: int = 256,
    logprob_grad: bool = True,
) -> TokenTerms:
    """Token divergence over the teacher's k most likely tokens and one bucket for all others.

    A lower bound of ``linear_divergence`` (without ``clip_entries``), equal to it where k is the
    size of the vocabulary. The bucket teaches how much mass the student may have there, not where.
    ``topk`` must be softened by the same ``temperature``. Other arguments, precision and result
    are those of ``linear_divergence``.

    Raises ValueError on shapes that do not fit.
    """
    check_shapes(student_hidden_NH, head_VH, token_N)
    count, kept = len(token_N), topk.token_NK.shape[-1]
    shapes = [tuple(value.shape) for value in topk]
    if shapes != [(count, kept), (count, kept), (count,)] or not 1 <= kept <= len(head_VH):
        raise ValueError(
            f"top-k tensors {shapes} do not fit {count} tokens and a vocabulary of {len(head_VH)}"
        )
    spec = _spec(alpha, temperature, clip, clip_entries, chunk_tokens, logprob_grad)
    teacher = tuple(value.detach() for value in topk)
    return walk_terms(student_hidden_NH, head_VH, token_N, spec, teacher)


@torch.no_grad()
def teacher_topk(
    hidden_NH: Tensor,
    head_VH: Tensor,
    token_N: Tensor,
    k: int,
    temperature: float,
    chunk_tokens: int = 256,
) -> TopK:
    """What ``topk_divergence`` needs of the teacher: min(k, V) tokens per position, no gradients.

    Raises ValueError on shapes that do not fit, k below 1 or a temperature that is not above 0.
    """
    check_shapes(hidden_NH, head_VH, token_N)
    if k < 1 or temperature <= 0.0:
        raise ValueError(f"k {k} must be at least 1 and temperature {temperature} above 0")
    dtype, count, kept = compute_dtype(hidden_NH), len(token_N), min(k, len(head_VH))
    topk = TopK(
        token_N.new_empty(count, kept, dtype=torch.int64),
        hidden_NH.new_empty(count, kept, dtype=dtype),
        hidden_NH.new_empty(count, dtype=dtype),
    )
    size = min(chunk_tokens, count), len(head_VH)
    buffers = [hidden_NH.new_empty(size, dtype=dtype) for _ in range(2)]
    with torch.autocast(hidden_NH.device.type, enabled=False):
        for start in range(0, count, chunk_tokens):
            rows = slice(start, min(start + chunk_tokens, count))
            scratch_NV, teacher_NV = (buffer[: rows.stop - start] for buffer in buffers)
            head_log_softmax(hidden_NH[rows], head_VH, scratch_NV, teacher_NV)
            topk.sampled_logprob_N[rows] = gather_tokens(teacher_NV, token_N[rows])
            softened_NV, _ = apply_temperature(teacher_NV, scratch_NV, temperature)
            best = softened_NV.topk(kept, dim=-1)
            topk.logprob_NK[rows], topk.token_NK[rows] = best.values, best.indices
    return topk


def linear_logprob(
    student_hidden_NH: Tensor, head_VH: Tensor, token_N: Tensor, chunk_tokens: int = 256
) -> Tensor:
    """Differentiable log-prob of each sampled token at temperature 1, shape (N,), in nats.

    Raises ValueError on shapes that do not fit.
    """
    check_shapes(student_hidden_NH, head_VH, token_N)
    spec = _spec(0.0, 1.0, None, None, chunk_tokens, True)
    return walk_terms(student_hidden_NH, head_VH, token_N, spec, ()).student_logprob_N


@torch.no_grad()
def sampled_logprobs(
    hidden_NH: Tensor, head_VH: Tensor, token_N: Tensor, chunk_tokens: int = 256
) -> Tensor:
    """Log-prob of each sampled token at temperature 1 without gradients: what a view contributes.

    Shape (N,), nats. Raises ValueError on shapes that do not fit.
    """
    return linear_logprob(hidden_NH, head_VH, token_N, chunk_tokens)


def _spec(
    alpha: float,
    temperature: float,
    clip: float | None,
    clip_entries: float | None,
    chunk_tokens: int,
    logprob_grad: bool,
) -> ChunkSpec:
    if not 0.0 <= alpha <= 1.0 or temperature <= 0.0:
        raise ValueError(f"alpha {alpha} must lie in [0, 1] and temperature {temperature} above 0")
    comparer = DivergenceSpec(alpha, temperature, clip_entries)
    return ChunkSpec(comparer, clip, chunk_tokens, logprob_grad, torch.is_grad_enabled())
