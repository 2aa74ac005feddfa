"""Products with the LM head, block by block where the head is narrower than the arithmetic.

Logits are ``hidden @ head.T`` and no more: a model that scales, biases or soft-caps its logits
must fold that in or be refused by the caller.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Rows of a low-precision head that are widened at one time.
HEAD_BLOCK = 4096


def compute_dtype(hidden: Tensor) -> torch.dtype:
    """float32, or float64 for float64 hidden states."""
    return torch.promote_types(hidden.dtype, torch.float32)


def head_log_softmax(
    hidden_NH: Tensor, head_VH: Tensor, logits_NV: Tensor, out_NV: Tensor
) -> Tensor:
    """Log-probs at temperature 1, written to ``out_NV`` in its type; ``logits_NV`` is scratch."""
    _logits(hidden_NH.to(out_NV.dtype), head_VH, logits_NV)
    return torch.log_softmax(logits_NV, -1, out=out_NV)


def apply_temperature(
    logprob_NV: Tensor, spare_NV: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Log-probs at ``temperature`` from those at 1, in place; returns (result, free buffer)."""
    if temperature == 1.0:
        return logprob_NV, spare_NV
    logprob_NV.div_(temperature)
    torch.log_softmax(logprob_NV, -1, out=spare_NV)
    return spare_NV, logprob_NV


def gather_tokens(logprob_NV: Tensor, token_N: Tensor) -> Tensor:
    """The sampled tokens' column, shape (N,)."""
    return logprob_NV.gather(1, token_N.unsqueeze(-1)).squeeze(-1)


def times_head(gradient_NV: Tensor, head_VH: Tensor, out_NH: Tensor) -> None:
    """``out = gradient @ head`` in the type of ``gradient``."""
    if head_VH.dtype == gradient_NV.dtype:
        torch.mm(gradient_NV, head_VH, out=out_NH)
        return
    out_NH.zero_()
    for start in range(0, len(head_VH), HEAD_BLOCK):
        block_VH = head_VH[start : start + HEAD_BLOCK].to(gradient_NV.dtype)
        out_NH.addmm_(gradient_NV[:, start : start + HEAD_BLOCK], block_VH)


def check_shapes(hidden_NH: Tensor, head_VH: Tensor, token_N: Tensor) -> None:
    """Raise ValueError unless hidden states, head and tokens fit each other."""
    if hidden_NH.shape != (len(token_N), head_VH.shape[1]):
        raise ValueError(
            f"hidden states {tuple(hidden_NH.shape)} do not fit {len(token_N)} tokens "
            f"and a head {tuple(head_VH.shape)}"
        )


def _logits(hidden_NH: Tensor, head_VH: Tensor, out_NV: Tensor) -> None:
    if head_VH.dtype == hidden_NH.dtype:
        torch.mm(hidden_NH, head_VH.t(), out=out_NV)
        return
    for start in range(0, len(head_VH), HEAD_BLOCK):
        block_VH = head_VH[start : start + HEAD_BLOCK].to(hidden_NH.dtype)
        out_NV[:, start : start + HEAD_BLOCK] = hidden_NH @ block_VH.t()
