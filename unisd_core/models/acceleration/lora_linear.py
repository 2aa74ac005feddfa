"""LoRA's linear layer with its two products accumulated in place.

PEFT writes ``W x + scaling * B (A x)`` as separate operations, each of which reads and writes a
tensor as large as the layer's output, forward and backward. On small models that is a large share
of the time. Here the product with B goes on top of that with W, and backward likewise; and a model
that is only read takes both products into W once for each version.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor
from torch.nn import functional


class _LoraProduct(torch.autograd.Function):
    """``x W' + b + scaling * (x A') B'`` for x (N, I), W (O, I), A (R, I), B (O, R)."""

    @staticmethod
    def forward(
        ctx: Any,
        x_NI: Tensor,
        weight_OI: Tensor,
        bias_O: Tensor | None,
        down_RI: Tensor,
        up_OR: Tensor,
        scaling: float,
    ) -> Tensor:
        down_NR = x_NI @ down_RI.T
        out_NO = functional.linear(x_NI, weight_OI, bias_O)
        out_NO.addmm_(down_NR, up_OR.T, alpha=scaling)
        ctx.save_for_backward(x_NI, weight_OI, down_RI, up_OR, down_NR)
        ctx.scaling = scaling
        return out_NO

    @staticmethod
    def backward(ctx: Any, grad_NO: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x_NI, weight_OI, down_RI, up_OR, down_NR = ctx.saved_tensors
        grad_NR = (grad_NO @ up_OR).mul_(ctx.scaling)
        grad_x_NI = None
        if ctx.needs_input_grad[0]:
            grad_x_NI = grad_NO @ weight_OI
            grad_x_NI.addmm_(grad_NR, down_RI)
        grad_up_OR = (grad_NO.T @ down_NR).mul_(ctx.scaling)
        return grad_x_NI, None, None, grad_NR.T @ x_NI, grad_up_OR, None


class LoraLinear(Linear):
    """PEFT's layer; it computes as PEFT does wherever more is asked than one plain adapter in the
    type of the frozen weight."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(..., O) for ``x`` (..., I)."""
        if args or kwargs or not self._plain(x):
            return super().forward(x, *args, **kwargs)
        (name,) = self.active_adapters
        base = self.get_base_layer()
        out_NO = _LoraProduct.apply(
            x.reshape(-1, x.shape[-1]),
            base.weight,
            base.bias,
            self.lora_A[name].weight,
            self.lora_B[name].weight,
            self.scaling[name],
        )
        return out_NO.view(*x.shape[:-1], -1)

    def _plain(self, x: Tensor) -> bool:
        if self.disable_adapters or self.merged or self.lora_variant:
            return False
        if len(self.active_adapters) != 1 or self.active_adapters[0] not in self.lora_A:
            return False
        base, name = self.get_base_layer(), self.active_adapters[0]
        frozen = not base.weight.requires_grad
        whole = isinstance(self.lora_dropout[name], torch.nn.Identity)
        same = x.dtype == base.weight.dtype == self.lora_A[name].weight.dtype
        return frozen and whole and same and not torch.is_autocast_enabled(x.device.type)


class FoldedAdapter:
    """An adapter that is read and not trained: each layer computes with ``W + scaling * B A``.

    Keeps a copy of each W, from which every version is made, so that rounding does not add up.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.layers = [module for module in model.modules() if isinstance(module, LoraLinear)]
        self.frozen_OI = [layer.get_base_layer().weight.detach().clone() for layer in self.layers]
        self.fold()

    @torch.no_grad()
    def fold(self) -> None:
        """Take over the adapter's present values."""
        for layer, frozen_OI in zip(self.layers, self.frozen_OI, strict=True):
            (name,) = layer.active_adapters
            up_OR, down_RI = layer.lora_B[name].weight, layer.lora_A[name].weight
            weight_OI = layer.get_base_layer().weight
            torch.addmm(frozen_OI, up_OR, down_RI, alpha=layer.scaling[name], out=weight_OI)
            layer.merged_adapters = [name]
