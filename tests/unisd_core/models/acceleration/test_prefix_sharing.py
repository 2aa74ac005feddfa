"""Common prefixes of rows are computed once, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import PhimoeConfig, PhimoeForCausalLM

from tests.support.families import FAMILIES
from tests.support.tiny import make_tiny_model
from unisd_core.config.run import LoraConfig
from unisd_core.models.acceleration.prefix_sharing import ATTENTION, enable_prefix_sharing
from unisd_core.models.acceleration.prefix_tree import PADDING, PrefixTree
from unisd_core.models.load import backbone, layer_states, load_base
from unisd_core.models.lora import add_lora

LAYERS = (0, 1, -1)


def tree_of_rows(length: int = 90) -> Tensor:
    """Rows that share 40 tokens; two of them 70, two all; some shorter than others."""
    ids_BT = torch.randint(11, 250, (6, length), generator=torch.Generator().manual_seed(3))
    ids_BT[:, :40] = ids_BT[0, :40]
    ids_BT[1, :70] = ids_BT[0, :70]
    ids_BT[3] = ids_BT[2]
    ids_BT[4, 60:] = PADDING
    ids_BT[5, 30:] = PADDING
    return ids_BT


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("families") / request.param
    return make_tiny_model(folder, family=request.param)


@pytest.fixture
def model(folder: Path) -> nn.Module:
    model = add_lora(load_base(folder), LoraConfig(r=4), seed=0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def gradients(model: nn.Module, ids_BT: Tensor, wanted_BT: Tensor, pick: bool) -> list[Tensor]:
    """The wanted states of several layers, and every parameter's gradient of what reads them."""
    model.zero_grad()
    last, layers = layer_states(model, ids_BT, LAYERS, wanted_BT if pick else None)
    states = [each if pick else each[wanted_BT] for each in [last, *layers]]
    weight_M1 = torch.linspace(-1, 2, len(states[0]))[:, None]
    sum((each * weight_M1).square().mean() for each in states).backward()
    return [*states, *(p.grad for p in model.parameters() if p.requires_grad)]


@pytest.mark.parametrize("pick", [True, False])
def test_states_and_gradients_are_those_of_whole_rows(
    model: nn.Module, pick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids_BT = tree_of_rows()
    wanted_BT = torch.rand(ids_BT.shape, generator=torch.Generator().manual_seed(1)) < 0.3
    wanted_BT &= ids_BT != PADDING
    ours = gradients(model, ids_BT, wanted_BT, pick)
    monkeypatch.setattr(
        "unisd_core.models.acceleration.prefix_sharing._reads_trees", lambda _: False
    )
    whole = gradients(model, ids_BT, wanted_BT, pick)
    torch.testing.assert_close(ours, whole, rtol=1e-3, atol=2e-5)
    assert max(float(values.abs().max()) for values in ours[4:]) > 1e-3


@torch.no_grad()
def test_each_token_of_the_tree_is_read_once(model: nn.Module) -> None:
    counts: dict[str, int] = {}

    def count(name: str, module: nn.Module) -> None:
        module.register_forward_hook(
            lambda _, given, __: counts.update({name: given[0].shape[:-1].numel()})
        )

    first, *_, last = backbone(model).layers
    count("first", first.mlp.down_proj)
    count("last, keys", last.self_attn.k_proj)
    count("last, mlp", last.mlp.down_proj)
    ids_BT = tree_of_rows()
    wanted_BT = torch.zeros_like(ids_BT, dtype=torch.bool)
    wanted_BT[2:4, 80:] = True
    layer_states(model, ids_BT, (), wanted_BT)
    size = len(PrefixTree.of(ids_BT).id_N)
    assert size == 90 + 20 + 50 + 20
    # Rows 2 and 3 are the same.
    assert counts == {"first": size, "last, keys": size, "last, mlp": 10}
    layer_states(model, ids_BT, ())
    assert counts["last, mlp"] == size, "the hooks are gone"


def test_a_window_that_only_the_mask_knows_leaves_a_model_as_it_is(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = PhimoeConfig(
        vocab_size=256, hidden_size=64, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, num_local_experts=2, sliding_window=8,
        initializer_range=0.3, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    PhimoeForCausalLM(config).save_pretrained(tmp_path)
    model = load_base(tmp_path)
    assert model.config._attn_implementation == "sdpa" and model.config.sliding_window == 8
    ids_BT = tree_of_rows(40).clamp(min=3)
    ours_BTH, _ = layer_states(model, ids_BT, ())
    whole_BTH = model.base_model(ids_BT, use_cache=False).last_hidden_state
    torch.testing.assert_close(ours_BTH, whole_BTH)


def test_the_windows_of_the_comparison_are_not_kept(tmp_path: Path) -> None:
    model = load_base(make_tiny_model(tmp_path, family="gemma3"))
    windows = {getattr(module, "sliding_window", None) for module in model.modules()}
    assert model.config._attn_implementation == ATTENTION
    assert windows - {None} == {model.config.sliding_window}
    assert model.config.sliding_window == FAMILIES["gemma3"].settings["sliding_window"]


def test_attention_of_its_own_leaves_a_model_as_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_base(folder)
    assert model.config._attn_implementation == ATTENTION
    model.set_attn_implementation("sdpa")
    monkeypatch.setattr(
        "unisd_core.models.acceleration.prefix_sharing.causal_attention",
        lambda query, *_, **__: query,
    )
    enable_prefix_sharing(model)
    assert model.config._attn_implementation == "sdpa"
