from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from tests.support.tiny import make_tiny_model
from unisd_core.common.errors import UserError
from unisd_core.config.run import LoraConfig
from unisd_core.models.adapters.merge import merged_weights
from unisd_core.models.load import load_base, load_tokenizer
from unisd_core.models.lora import (
    adapter_checksum,
    adapter_state,
    add_lora,
    load_adapter_state,
    save_adapter,
    save_merged,
)

LORA = LoraConfig(r=4, lora_alpha=6.0)
IDS_BT = torch.arange(8, 40).reshape(2, 16)


@pytest.fixture
def trained(tiny_model: Path) -> PeftModel:
    """A model whose adapter has moved away from its start."""
    model = add_lora(load_base(tiny_model), LORA, seed=1)
    generator = torch.Generator().manual_seed(2)
    state = {
        name: tensor + 0.05 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in adapter_state(model).items()
    }
    load_adapter_state(model, state)
    return model


@torch.no_grad()
def logits(model: torch.nn.Module) -> Tensor:
    return model(input_ids=IDS_BT).logits


def test_a_new_adapter_changes_nothing_and_only_it_is_trainable(tiny_model: Path) -> None:
    base = load_base(tiny_model)
    before = logits(base)
    model = add_lora(base, LORA, seed=0)
    assert torch.equal(logits(model), before)
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trainable and all("lora_" in name for name in trainable)
    assert len(trainable) == 2 * len(LORA.target_modules) * 2


def test_initial_adapter_depends_on_the_seed_alone(tiny_model: Path) -> None:
    states = []
    for noise, seed in ((1, 7), (2, 7), (1, 8)):
        torch.manual_seed(noise)
        states.append(adapter_state(add_lora(load_base(tiny_model), LORA, seed)))
    assert adapter_checksum(states[0]) == adapter_checksum(states[1])
    assert adapter_checksum(states[0]) != adapter_checksum(states[2])


def test_adding_an_adapter_leaves_the_callers_random_state(tiny_model: Path) -> None:
    base = load_base(tiny_model)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    add_lora(base, LORA, seed=9)
    assert torch.equal(torch.get_rng_state(), before)


def test_adapter_is_float32_over_a_bfloat16_base(tiny_model: Path) -> None:
    model = add_lora(load_base(tiny_model, "bfloat16"), LORA, seed=0)
    kinds = {p.dtype for n, p in model.named_parameters() if "lora_" in n}
    assert kinds == {torch.float32}


@pytest.mark.parametrize("target", ["lm_head", "embed_tokens", "no_such_proj"])
def test_targets_that_cannot_be_adapted_are_refused(tiny_model: Path, target: str) -> None:
    with pytest.raises(UserError, match=rf"model\.lora\.target_modules: {target}"):
        add_lora(load_base(tiny_model), LoraConfig(target_modules=("q_proj", target)), seed=0)


def test_state_is_a_copy_and_loads_in_place(trained: PeftModel) -> None:
    state = adapter_state(trained)
    places = {n: p.data_ptr() for n, p in trained.named_parameters()}
    kept = adapter_checksum(state)
    load_adapter_state(trained, {name: torch.zeros_like(t) for name, t in state.items()})
    assert adapter_checksum(state) == kept
    assert all(not t.any() for t in adapter_state(trained).values())
    load_adapter_state(trained, state)
    assert adapter_checksum(adapter_state(trained)) == kept
    assert {n: p.data_ptr() for n, p in trained.named_parameters()} == places


def test_a_state_that_does_not_fit_is_named_and_changes_nothing(trained: PeftModel) -> None:
    state = adapter_state(trained)
    before = adapter_checksum(state)
    zeros = {name: torch.zeros_like(t) for name, t in state.items()}
    first = min(zeros)
    without = {name: t for name, t in zeros.items() if name != first}
    with pytest.raises(UserError, match=f"{first} is missing"):
        load_adapter_state(trained, without)
    with pytest.raises(UserError, match="stranger is unknown"):
        load_adapter_state(trained, {**zeros, "stranger": torch.zeros(1)})
    with pytest.raises(UserError, match=r"is \(9, 9\) instead of"):
        load_adapter_state(trained, {**zeros, first: torch.zeros(9, 9)})
    assert adapter_checksum(adapter_state(trained)) == before


def test_saved_folder_loads_in_peft(trained: PeftModel, tiny_model: Path, tmp_path: Path) -> None:
    save_adapter(trained, LORA, tiny_model, tmp_path / "a")
    again = PeftModel.from_pretrained(load_base(tiny_model), tmp_path / "a")
    # PEFT adds the products up in another order.
    torch.testing.assert_close(logits(again), logits(trained), rtol=1e-5, atol=1e-5)
    assert adapter_checksum(adapter_state(again)) == adapter_checksum(adapter_state(trained))


def test_equal_states_give_equal_files(
    trained: PeftModel, tiny_model: Path, tmp_path: Path
) -> None:
    state = adapter_state(trained)
    save_adapter(trained, LORA, tiny_model, tmp_path / "a")
    save_adapter(dict(reversed(state.items())), LORA, tiny_model, tmp_path / "b")
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    fields = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert fields["target_modules"] == sorted(LORA.target_modules)


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_saved_files_can_be_read_by_whom_the_umask_lets(
    trained: PeftModel, tiny_model: Path, tmp_path: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        save_adapter(trained, LORA, tiny_model, tmp_path / "adapter")
        save_merged(tiny_model, adapter_state(trained), LORA, tmp_path / "merged")
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".safetensors", ".json"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o666 & ~umask}


def test_merging_agrees_with_peft_and_with_the_unmerged_forward(
    trained: PeftModel, tiny_model: Path, tmp_path: Path
) -> None:
    expected_logits = logits(trained)
    save_merged(tiny_model, adapter_state(trained), LORA, tmp_path / "m")
    ours = load_file(tmp_path / "m" / "model.safetensors")
    base = load_file(tiny_model / "model.safetensors")
    peft = trained.merge_and_unload().state_dict()
    assert ours.keys() == base.keys()
    for name, tensor in ours.items():
        assert torch.allclose(tensor, peft[name], rtol=0, atol=1e-6), name
        assert torch.equal(tensor, base[name]) == ("proj" not in name), name
    reloaded = load_base(tmp_path / "m")
    assert torch.allclose(logits(reloaded), expected_logits, rtol=0, atol=1e-4)
    assert load_tokenizer(tmp_path / "m").chat_template == load_tokenizer(tiny_model).chat_template


@settings(max_examples=30, deadline=None)
@given(
    rank=st.integers(1, 8),
    alpha=st.floats(0.5, 64),
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    seed=st.integers(0, 1000),
)
def test_merged_weight_is_the_formula(
    rank: int, alpha: float, shape: tuple[int, int], seed: int
) -> None:
    out, into = shape
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(out, into, generator=generator)
    a = torch.randn(rank, into, generator=generator)
    b = torch.randn(out, rank, generator=generator)
    other = torch.ones(3)
    stem = "base_model.model.layers.0.q_proj"
    merged = dict(
        merged_weights(
            {"layers.0.q_proj.weight": weight, "layers.0.q_proj.bias": other},
            {f"{stem}.lora_A.weight": a, f"{stem}.lora_B.weight": b},
            LoraConfig(r=rank, lora_alpha=alpha),
        )
    )
    expected = weight.double() + alpha / rank * (b.double() @ a.double())
    torch.testing.assert_close(
        merged["layers.0.q_proj.weight"].double(), expected, rtol=1e-5, atol=1e-4
    )
    assert merged["layers.0.q_proj.bias"] is other


def test_modules_without_an_adapter_can_be_left_out(trained: PeftModel, tiny_model: Path) -> None:
    state = adapter_state(trained)
    every = dict(merged_weights(tiny_model, state, LORA))
    some = dict(merged_weights(tiny_model, state, LORA, everything=False))
    left_out = {".".join(name.split(".")[-2:]) for name in set(every) - set(some)}
    norms = {"norm.weight", "input_layernorm.weight", "post_attention_layernorm.weight"}
    assert {name.removeprefix("model.") for name in left_out} == {"embed_tokens.weight", *norms}
    assert all(torch.equal(tensor, every[name]) for name, tensor in some.items())


def test_what_may_be_fused_with_an_adapted_layer_comes_along() -> None:
    layers = ("attn.q", "attn.k", "mlp.up", "mlp.down", "norm")
    base = {f"model.0.{layer}.weight": torch.ones(2, 2) for layer in layers}
    state = {f"base_model.model.model.0.attn.q.lora_{s}.weight": torch.ones(2, 2) for s in "AB"}
    some = dict(merged_weights(base, state, LoraConfig(r=2), everything=False))
    assert set(some) == {"model.0.attn.q.weight", "model.0.attn.k.weight"}


def test_an_adapter_without_a_weight_to_go_to_is_an_error() -> None:
    state = {f"base_model.model.gone.lora_{side}.weight": torch.zeros(2, 2) for side in ("A", "B")}
    with pytest.raises(UserError, match="gone"):
        list(merged_weights({"here.weight": torch.zeros(2, 2)}, state, LoraConfig(r=2)))


def test_sharded_bfloat16_base_merges_into_one_float32_file(
    trained: PeftModel, tmp_path: Path
) -> None:
    whole = make_tiny_model(tmp_path / "whole")
    base = load_base(whole, "bfloat16")
    sharded = tmp_path / "sharded"
    base.save_pretrained(sharded, max_shard_size="100KB")
    assert len(list(sharded.glob("*.safetensors"))) > 1
    save_merged(sharded, adapter_state(trained), LORA, tmp_path / "out")
    assert [f.name for f in (tmp_path / "out").glob("*.safetensors*")] == ["model.safetensors"]
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as file:
        names = set(file.keys())
        assert {file.get_tensor(n).dtype for n in names} == {torch.float32}
    assert names == set(load_file(whole / "model.safetensors"))
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "float32"
    load_base(tmp_path / "out")


def test_checksum_sees_names_and_values_but_not_order() -> None:
    state = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3.0])}
    one = adapter_checksum(state)
    assert adapter_checksum({"b": state["b"], "a": state["a"]}) == one
    assert adapter_checksum({"a": state["b"], "b": state["a"]}) != one
    assert adapter_checksum({"a": torch.tensor([1.0, 2.0000002]), "b": state["b"]}) != one
    assert adapter_checksum({"a": state["a"], "c": state["b"]}) != one
