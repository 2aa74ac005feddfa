from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.support.tiny import make_tiny_model
from unisd_core.config.run import LoraConfig
from unisd_core.evaluation.forward_pass import ForwardPass
from unisd_core.models.load import hidden_states, load_base
from unisd_core.models.lora import add_lora

IDS_BT = torch.arange(11, 43).reshape(2, 16)
ALL_BT = torch.ones_like(IDS_BT, dtype=torch.bool)


@pytest.fixture(params=["smollm2", "llama3"])  # a tied head and one of its own
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / request.param, family=request.param)


@torch.inference_mode()
def test_one_module_is_run_with_its_adapter_on_and_off(folder: Path) -> None:
    base_NH = hidden_states(load_base(folder), IDS_BT).flatten(0, 1)
    model = add_lora(load_base(folder), LoraConfig(r=4), seed=0).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.normal_(std=0.2)
    trained_NH = hidden_states(model, IDS_BT).flatten(0, 1)
    trained, base = ForwardPass.of(model), ForwardPass.of_base(model)
    assert not torch.allclose(trained_NH, base_NH, atol=0.1)
    for _ in range(2):
        assert torch.equal(base.states(IDS_BT, ALL_BT), base_NH)
        assert torch.equal(trained.states(IDS_BT, ALL_BT), trained_NH)
    assert base.head_VH is trained.head_VH
    logits_NV = trained.states(IDS_BT, ALL_BT) @ trained.head_VH.T
    expected_NV = model(input_ids=IDS_BT).logits.flatten(0, 1)
    torch.testing.assert_close(logits_NV, expected_NV, rtol=1e-5, atol=1e-5)


def test_a_model_in_training_is_refused(tiny_model: Path) -> None:
    model = add_lora(load_base(tiny_model), LoraConfig(r=4), seed=0)
    both = [ForwardPass.of(model), ForwardPass.of_base(model)]
    model.train()
    for each in both:
        with pytest.raises(ValueError, match=r"training mode; call eval\(\)"):
            each.states(IDS_BT, ALL_BT)
    model.eval()
    for each in both:
        each.states(IDS_BT, ALL_BT)
