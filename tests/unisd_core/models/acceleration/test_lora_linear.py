"""The adapter's layer says what PEFT's says, forward and backward."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import Linear
from torch import Tensor, nn

from unisd_core.models.acceleration.lora_linear import FoldedAdapter, LoraLinear


def adapted(dtype: torch.dtype = torch.float64, bias: bool = True, **options: object) -> PeftModel:
    torch.manual_seed(0)
    config = LoraConfig(r=3, lora_alpha=5, target_modules=["0", "2"], **options)
    config._register_custom_module({nn.Linear: LoraLinear})
    layers = nn.Sequential(nn.Linear(7, 5, bias=bias), nn.SiLU(), nn.Linear(5, 4, bias=bias))
    model = get_peft_model(layers.to(dtype), config)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn_like(parameter)
    return model


def outcome(model: nn.Module, x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    out = model(x)
    out.square().sum().backward()
    grads = [p.grad for p in model.parameters() if p.requires_grad]
    return [out.detach(), x.grad, *grads]


def as_peft_does(model: nn.Module) -> nn.Module:
    other = copy.deepcopy(model)
    for module in other.modules():
        if isinstance(module, LoraLinear):
            module.__class__ = Linear
    return other


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7,), (6, 7), (2, 3, 7)])
def test_outputs_and_gradients_are_pefts(shape: tuple[int, ...], bias: bool) -> None:
    model = adapted(bias=bias)
    x = torch.randn(shape, dtype=torch.float64)
    for mine, theirs in zip(outcome(model, x), outcome(as_peft_does(model), x), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def test_an_input_without_gradient_gives_the_adapter_one() -> None:
    model, x = adapted(), torch.randn(6, 7, dtype=torch.float64)
    other = as_peft_does(model)
    for one in (model, other):
        one(x).sum().backward()
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert (mine.grad is None) == (theirs.grad is None)
        if mine.grad is not None:
            torch.testing.assert_close(mine.grad, theirs.grad)


def _bfloat16_base(model: PeftModel) -> None:
    for name, parameter in model.named_parameters():
        parameter.data = parameter.data.to(torch.float32 if "lora_" in name else torch.bfloat16)


def _merged(model: PeftModel) -> None:
    model.merge_adapter()


def _another(model: PeftModel) -> None:
    model.add_adapter("other", LoraConfig(r=2, target_modules=["0"]))
    model.base_model.set_adapter(["default", "other"])


@pytest.mark.parametrize("change", [_bfloat16_base, _merged, _another])
def test_what_is_not_plain_is_left_to_peft(change: Callable[[PeftModel], None]) -> None:
    model = adapted()
    change(model)
    base = model.base_model.model[0].base_layer.weight
    x = torch.randn(6, 7).to(base.dtype)
    with torch.no_grad():
        assert torch.equal(model(x), as_peft_does(model)(x))


def test_without_the_adapter_the_base_answers() -> None:
    model, x = adapted(), torch.randn(6, 7, dtype=torch.float64)
    with torch.no_grad(), model.disable_adapter():
        base = [module.base_layer for module in model.modules() if isinstance(module, LoraLinear)]
        torch.testing.assert_close(model(x), base[1](nn.functional.silu(base[0](x))))


def test_a_folded_adapter_reads_as_the_adapter_and_does_not_drift() -> None:
    model, x = adapted(), torch.randn(6, 7, dtype=torch.float64)
    first = [p.detach().clone() for p in model.parameters()]
    with torch.no_grad():
        at_first = model(x)
        folded = FoldedAdapter(model)
        torch.testing.assert_close(model(x), at_first)
        for version in range(50):
            for name, parameter in model.named_parameters():
                if "lora_" in name:
                    torch.manual_seed(version)
                    parameter.data = torch.randn_like(parameter)
            folded.fold()
        for name, before in zip(model.state_dict(), first, strict=True):
            if "lora_" in name:
                model.state_dict()[name].copy_(before)
        folded.fold()
        again = copy.deepcopy(adapted())
        FoldedAdapter(again)
        assert torch.equal(model(x), again(x))
