"""Adapters that PEFT wrote: read to compute what PEFT computes, or refused in one line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor

from unisd_core.common.errors import UserError
from unisd_core.config.run import Config, LoraConfig
from unisd_core.models.adapters.merge import merged_weights
from unisd_core.models.adapters.settings import _FREE, _READ, _VALUES, read_settings
from unisd_core.models.load import load_base
from unisd_core.models.lora import save_adapter
from unisd_core.models.saved_weights import find_saved, read_adapter
from unisd_core.models.trained_weights import load_trained_state, make_trainable

NAME = "adapter_config.json"
IDS = torch.arange(24).unsqueeze(0) + 60


def trained(model_dir: Path, **settings: Any) -> PeftModel:
    """PEFT's own model with an adapter whose update is not zero."""
    torch.manual_seed(0)
    model = get_peft_model(load_base(model_dir), PeftLoraConfig(task_type="CAUSAL_LM", **settings))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.eval()


@torch.no_grad()
def logits(model: torch.nn.Module) -> Tensor:
    return model(input_ids=IDS, use_cache=False).logits


def change(folder: Path, **fields: Any) -> Path:
    known = json.loads((folder / NAME).read_text())
    (folder / NAME).write_text(json.dumps(known | fields))
    return folder


@torch.no_grad()
def merged_logits(model_dir: Path, folder: Path) -> Tensor:
    state, lora = read_adapter(folder)
    model = load_base(model_dir)
    found = model.load_state_dict(dict(merged_weights(model_dir, state, lora)), strict=False)
    assert not found.unexpected_keys
    return logits(model)


PLAIN = {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj"]}


@pytest.mark.parametrize(
    "settings",
    [
        PLAIN,
        PLAIN | {"use_rslora": True},
        PLAIN | {"r": 3, "use_rslora": True, "lora_dropout": 0.1},
        PLAIN | {"init_lora_weights": "gaussian"},
        PLAIN | {"init_lora_weights": False},
        PLAIN | {"init_lora_weights": "orthogonal"},
        PLAIN | {"init_lora_weights": "mica"},
        PLAIN | {"target_modules": "all-linear"},
        PLAIN | {"target_modules": r".*layers\.1\..*\.(q|up)_proj"},
        PLAIN | {"target_modules": ["model.layers.0.mlp.up_proj", "k_proj"]},
        PLAIN | {"exclude_modules": ["model.layers.0.self_attn.q_proj"]},
        PLAIN | {"exclude_modules": r".*layers\.0.*"},
        PLAIN | {"layers_to_transform": [1]},
        PLAIN | {"layers_to_transform": 0, "layers_pattern": "layers"},
    ],
    ids=str,
)
def test_what_is_read_computes_what_peft_computes(
    tiny_model: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    model = trained(tiny_model, **settings)
    model.save_pretrained(str(tmp_path))
    change(tmp_path, **{key: settings[key] for key in ("target_modules",) if key in settings})
    wanted = logits(model)
    assert not torch.allclose(wanted, logits(load_base(tiny_model)), atol=1e-3)
    assert torch.allclose(merged_logits(tiny_model, tmp_path), wanted, atol=1e-4)

    found = find_saved(str(tmp_path), Config().with_model(name_or_path=str(tiny_model)))
    assert found.adapter is not None
    again = make_trainable(load_base(tiny_model), found.config)
    load_trained_state(again, found.adapter)
    assert torch.allclose(logits(again.eval()), wanted, atol=1e-4)

    save_adapter(found.adapter, found.config.model.lora, tiny_model, tmp_path / "served")
    served = PeftModel.from_pretrained(load_base(tiny_model), str(tmp_path / "served")).eval()
    assert torch.allclose(logits(served), wanted, atol=1e-4)


@pytest.mark.parametrize("how", ["pissa", "pissa_niter_4", "olora"])
def test_an_adapter_of_a_changed_base_is_read_once_it_is_converted(
    tiny_model: Path, tmp_path: Path, how: str
) -> None:
    torch.manual_seed(0)
    settings = PeftLoraConfig(**PLAIN, init_lora_weights=how, task_type="CAUSAL_LM")
    model = get_peft_model(load_base(tiny_model), settings)
    model.peft_config["default"].init_lora_weights = True
    start = str(tmp_path / "start")
    model.save_pretrained(start)
    model.peft_config["default"].init_lora_weights = how
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    wanted = logits(model.eval())
    model.save_pretrained(str(tmp_path / "raw"))
    with pytest.raises(UserError, match=f'init_lora_weights="{how}" is not supported; if it'):
        read_adapter(tmp_path / "raw")
    model.save_pretrained(
        str(tmp_path / "converted"),
        path_initial_model_for_weight_conversion=str(tmp_path / "start"),
    )
    assert torch.allclose(merged_logits(tiny_model, tmp_path / "converted"), wanted, atol=1e-3)


@pytest.fixture(scope="module")
def plain(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    trained(tiny_model, **PLAIN).save_pretrained(str(folder))
    return folder


def copy(plain: Path, folder: Path, **fields: Any) -> Path:
    folder.mkdir(exist_ok=True)
    for file in (NAME, "adapter_model.safetensors"):
        (folder / file).write_bytes((plain / file).read_bytes())
    return change(folder, **fields)


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_adapter(folder)
    message = str(caught.value)
    assert message.startswith(f"{folder / NAME}: cannot be used as a LoRA adapter (")
    assert "\n" not in message and len(message) < 500
    return message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("init_lora_weights", "pissa"), ("init_lora_weights", "pissa_niter_16"),
        ("init_lora_weights", "olora"), ("init_lora_weights", "corda"),
        ("init_lora_weights", "loftq"), ("init_lora_weights", "lora_ga"),
        ("init_lora_weights", "PiSSA"), ("init_lora_weights", 1), ("init_lora_weights", None),
        ("alora_invocation_tokens", [1, 2]), ("use_dora", True), ("lora_bias", True),
        ("bias", "all"), ("bias", "lora_only"), ("fan_in_fan_out", True), ("use_qalora", True),
        ("rank_pattern", {"q_proj": 4}), ("alpha_pattern", {"q_proj": 8}),
        ("modules_to_save", ["lm_head"]), ("trainable_token_indices", [5]),
        ("target_parameters", ["mlp.experts"]), ("layer_replication", [[0, 2], [1, 2]]),
        ("megatron_config", {"a": 1}), ("use_bdlora", {"a": 1}), ("arrow_config", {"top_k": 2}),
        ("kasa_config", {"a": 1}), ("velora_config", {"a": 1}), ("monteclora_config", {"a": 1}),
        ("ensure_weight_tying", True), ("peft_type", "LOHA"), ("task_type", "SEQ_CLS"),
        ("use_rslora", "yes"), ("a_setting_of_tomorrow", 0.5), ("target_modules", None),
        ("target_modules", {"q_proj": 1}), ("target_modules", ["q_proj", 1]),
    ],
)  # fmt: skip
def test_a_setting_that_may_change_the_computation_is_named(
    plain: Path, tmp_path: Path, key: str, value: Any
) -> None:
    message = refused(copy(plain, tmp_path, **{key: value}))
    assert key in message
    assert "is not supported" in message


@pytest.mark.parametrize(
    "fields",
    [
        {"lora_dropout": 0.5, "inference_mode": False, "peft_version": "9.0", "revision": None},
        {"auto_mapping": {"base_model_class": "LlamaForCausalLM"}, "task_type": None},
        {"megatron_core": "megatron", "qalora_group_size": 32},
        {"corda_config": {"a": 1}, "eva_config": {"rho": 2.0}, "loftq_config": {"loftq_bits": 4}},
        {"modules_to_save": [], "rank_pattern": None, "alpha_pattern": {}, "use_dora": False},
        {"a_setting_of_tomorrow": None, "another": False, "third": {}},
        {"init_lora_weights": "eva"},
    ],
    ids=str,
)
def test_a_setting_that_changes_nothing_is_free(
    plain: Path, tmp_path: Path, fields: dict[str, Any]
) -> None:
    assert read_adapter(copy(plain, tmp_path, **fields))[1] == read_adapter(plain)[1]


def test_every_other_setting_of_peft_is_off_by_default() -> None:
    for item in dataclasses.fields(PeftLoraConfig):
        known = {*_READ, *_FREE, *_VALUES, "runtime_config"}
        if item.name not in known:
            default = item.default if item.default is not dataclasses.MISSING else {}
            assert not default, item.name


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"target_modules": ["q_proj"]}, "leaves out model.layers.0.self_attn.v_proj"),
        ({"target_modules": ["proj"]}, "leaves out"),
        ({"target_modules": r".*q_proj"}, "leaves out model.layers.0.self_attn.v_proj"),
        ({"target_modules": r".*layers\.0.*"}, "leaves out model.layers.1"),
        ({"target_modules": "("}, "missing"),
        ({"exclude_modules": ["v_proj"]}, "leaves out model.layers.0.self_attn.v_proj"),
        ({"layers_to_transform": [0]}, "leaves out model.layers.1"),
        ({"r": 8}, "has not the rank r=8"),
        ({"r": "many"}, 'r="many" is not supported'),
        ({"r": 4.0}, "r=4.0 is not supported"),
        ({"r": True}, "r=true is not supported"),
        ({"lora_alpha": -1}, "lora_alpha=-1 is not supported"),
        ({"lora_alpha": None}, "lora_alpha=null is not supported"),
        ({"lora_alpha": float("nan")}, "lora_alpha=NaN is not supported"),
    ],
)
def test_settings_that_do_not_fit_the_tensors_are_refused(
    plain: Path, tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    assert said in refused(copy(plain, tmp_path, **fields))


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ("base_model.model.lm_head.weight", "neither"),
        ("base_model.model.model.embed_tokens.lora_embedding_A", "neither"),
        ("base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector", "neither"),
        ("base_model.model.model.layers.0.self_attn.q_proj.lora_B.bias", "neither"),
        ("base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight", "lora_A alone"),
    ],
)
def test_a_tensor_that_would_be_left_out_is_named(
    plain: Path, tmp_path: Path, extra: str, said: str
) -> None:
    folder = copy(plain, tmp_path)
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file({**tensors, extra: torch.ones(4, 64)}, folder / "adapter_model.safetensors")
    message = refused(folder)
    assert said in message
    assert extra.split(".lora")[0].removeprefix("base_model.model.") in message


def test_no_tensors_are_no_adapter(plain: Path) -> None:
    with pytest.raises(UserError, match="no tensors"):
        read_settings(plain / NAME, {})


def test_an_adapter_of_this_project_is_read_as_it_was_written(
    tiny_model: Path, tmp_path: Path
) -> None:
    lora = LoraConfig(r=4, lora_alpha=2.5, target_modules=("q_proj", "v_proj"))
    state = {
        f"base_model.model.model.layers.{layer}.self_attn.{name}.lora_{side}.weight": torch.ones(
            (4, 64) if side == "A" else (64, 4)
        )
        for layer in (0, 1)
        for name in ("q_proj", "v_proj")
        for side in "AB"
    }
    save_adapter(state, lora, tiny_model, tmp_path)
    found = read_settings(tmp_path / NAME, state)
    assert (found.lora, found.base, found.revision) == (lora, str(tiny_model), "")
