"""The gated MLP of Llama and its relatives, ``down(silu(gate(x)) * up(x))``, with less kept.

Between forward and backward pass torch keeps ``gate``, ``up``, ``silu(gate)`` and the product: more
than half of all that an update keeps. Here the last two are computed again from the first two.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional

PARTS = {"gate_proj", "up_proj", "down_proj", "act_fn"}


class _GatedSilu(torch.autograd.Function):
    """``silu(gate) * up``, element by element."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return _product(gate, up)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        gate, up = ctx.saved_tensors
        grad_gate = torch.ops.aten.silu_backward(grad * up, gate)
        return grad_gate, functional.silu(gate).mul_(grad)


def recompute_gated_mlps(model: nn.Module) -> None:
    """Let all MLPs of ``model`` that compute as above do so with less kept; others stay."""
    for module in model.modules():
        if dict(module.named_children()).keys() >= PARTS and _is_gated_silu(module):
            module.forward = MethodType(_forward, module)


def _forward(mlp: Any, x: Tensor) -> Tensor:
    gate, up = mlp.gate_proj(x), mlp.up_proj(x)
    if torch.is_grad_enabled() and (gate.requires_grad or up.requires_grad):
        product = _GatedSilu.apply(gate, up)
        again = partial(_product, gate.detach(), up.detach())
        # Its address and not itself, as hooks live as long as what they kept.
        pack = partial(_unless_it_is, (product.data_ptr(), product.numel()))
        with saved_tensors_hooks(pack, partial(_or, again)):
            return mlp.down_proj(product)
    return mlp.down_proj(functional.silu(gate, inplace=True).mul_(up))


def _product(gate: Tensor, up: Tensor) -> Tensor:
    return functional.silu(gate).mul_(up)


def _unless_it_is(product: tuple[int, int], kept: Tensor) -> Tensor | torch.Size:
    """``kept``, or only its shape where it has the address and size of ``product``."""
    return kept.shape if product == (kept.data_ptr(), kept.numel()) else kept


def _or(again: Callable[[], Tensor], kept: Tensor | torch.Size) -> Tensor:
    return kept if isinstance(kept, Tensor) else again().view(kept)


@torch.no_grad()
def _is_gated_silu(mlp: Any) -> bool:
    """Whether a small input gives what ``_forward`` makes of it."""
    weight = getattr(mlp.gate_proj, "weight", None)
    if weight is None or weight.ndim != 2:
        return False
    x = torch.linspace(-1, 1, 2 * weight.shape[1], device=weight.device, dtype=weight.dtype)
    x = x.view(1, 2, -1)
    return torch.equal(mlp(x), _forward(mlp, x))
