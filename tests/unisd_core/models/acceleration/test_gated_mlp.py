"""The MLP that keeps less computes what it did before, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from transformers import AutoModelForCausalLM

from tests.support.tiny import make_tiny_model
from unisd_core.config.run import LoraConfig
from unisd_core.models.acceleration.gated_mlp import PARTS, recompute_gated_mlps
from unisd_core.models.lora import add_lora

IDS = torch.tensor([[5, 9, 40, 77, 12, 33], [60, 8, 91, 14, 3, 2]])


def original(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def frozen_with_lora(model: Any) -> Any:
    model.requires_grad_(False)
    adapted = add_lora(model, LoraConfig(r=4), seed=0)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    return adapted


def read(model: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits and gradients."""
    logits = model(IDS).logits
    (logits**2).mean().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return logits.detach(), gradients


@pytest.mark.parametrize("trained", [frozen_with_lora, lambda model: model], ids=["lora", "full"])
def test_same_logits_and_gradients(tmp_path: Path, trained: Callable[[Any], Any]) -> None:
    folder = make_tiny_model(tmp_path / "model")
    plain, changed = original(folder), original(folder)
    recompute_gated_mlps(changed)
    plain, changed = trained(plain), trained(changed)
    expected, found = read(plain), read(changed)
    assert torch.equal(found[0], expected[0])
    assert found[1].keys() == expected[1].keys() and found[1]
    for name, gradient in expected[1].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-5, atol=1e-7)
    with torch.no_grad():
        assert torch.equal(changed(IDS).logits, expected[0])


def test_less_is_kept(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model")
    plain, changed = original(folder), original(folder)
    recompute_gated_mlps(changed)

    def kept(model: Any) -> int:
        """Values that are kept in tensors as wide as the MLP, each counted once."""
        width, places = model.config.intermediate_size, {}
        adapted = frozen_with_lora(model)
        weights = {parameter.data_ptr() for parameter in adapted.parameters()}

        def pack(tensor: Tensor) -> Tensor:
            if tensor.shape[-1] == width and tensor.data_ptr() not in weights:
                places[tensor.data_ptr()] = tensor.numel()
            return tensor

        with saved_tensors_hooks(pack, lambda tensor: tensor):
            held = adapted(IDS).logits
        assert held.requires_grad
        return sum(places.values())

    # Neither silu(gate) nor the product.
    config = changed.config
    less = 2 * config.num_hidden_layers * IDS.numel() * config.intermediate_size
    assert kept(plain) - kept(changed) == less


class Other(nn.Module):
    """The parts of a gated MLP, put together in another way."""

    def __init__(self, act_fn: nn.Module) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(4, 8), nn.Linear(4, 8)
        self.down_proj, self.act_fn = nn.Linear(8, 4), act_fn

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.act_fn(self.gate_proj(x)) + self.up_proj(x))


def test_what_computes_anything_else_stays(tmp_path: Path) -> None:
    torch.manual_seed(0)
    other = Other(nn.SiLU())
    recompute_gated_mlps(other)
    assert "forward" not in vars(other)
    gemma = original(make_tiny_model(tmp_path / "gemma", family="gemma3"))
    recompute_gated_mlps(gemma)
    gated = [m for m in gemma.modules() if dict(m.named_children()).keys() >= PARTS]
    assert gated and not any("forward" in vars(module) for module in gated)
