from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, GraniteConfig, GraniteForCausalLM

from tests.support.tiny import make_tiny_model
from unisd_core.common.errors import UserError
from unisd_core.config.run import LoraConfig
from unisd_core.models.load import (
    backbone,
    check_vocabulary,
    hidden_states,
    layer_states,
    lm_head_weight,
    load_base,
    load_tokenizer,
    stop_token_ids,
)
from unisd_core.models.lora import add_lora

IDS_BT = torch.arange(8, 40).reshape(2, 16)


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    """A model folder a test may damage."""
    return Path(shutil.copytree(tiny_model, tmp_path / "copy"))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
@torch.no_grad()
def test_hidden_state_times_head_is_the_models_logits(
    tmp_path: Path, tied: bool, wrapped: bool
) -> None:
    model = load_base(make_tiny_model(tmp_path / "m", tie_word_embeddings=tied))
    if wrapped:
        model = add_lora(model, LoraConfig(r=4), seed=0)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    hidden_BTH = hidden_states(model, IDS_BT)
    assert hidden_BTH.shape == (2, 16, 64)
    logits_BTV = hidden_BTH @ lm_head_weight(model).T
    torch.testing.assert_close(logits_BTV, model(input_ids=IDS_BT).logits, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_right_padding_does_not_touch_the_tokens_before_it(tiny_model: Path) -> None:
    model = load_base(tiny_model)
    short_BT = IDS_BT[:1, :9]
    padded_BT = torch.cat([short_BT, torch.full((1, 7), 2)], dim=1)
    torch.testing.assert_close(
        hidden_states(model, padded_BT)[:, :9], hidden_states(model, short_BT), rtol=0, atol=1e-5
    )


def test_gradients_reach_the_adapter_through_the_backbone(tiny_model: Path) -> None:
    model = add_lora(load_base(tiny_model), LoraConfig(r=4), seed=0)
    hidden_states(model, IDS_BT).square().mean().backward()
    grads = [p.grad for n, p in model.named_parameters() if "lora_B" in n]
    assert all(g is not None and g.abs().sum() > 0 for g in grads)


def test_base_is_frozen_evaluating_and_of_the_asked_type(tiny_model: Path) -> None:
    model = load_base(tiny_model, "bfloat16")
    assert not model.training
    assert {(p.dtype, p.requires_grad) for p in model.parameters()} == {(torch.bfloat16, False)}


def test_loading_is_silent(tiny_model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_base(tiny_model)
    load_tokenizer(tiny_model)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_missing_weights_are_an_error_not_random_numbers(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(UserError, match=r"weights lack model\.layers\.2"):
        load_base(copy)


def test_pickled_weights_are_not_read(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    torch.save({}, copy / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_base(copy)


def test_code_that_comes_with_a_model_is_not_run(copy: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (copy / "evil.py").write_text(f"open({str(ran)!r}, 'w')\n")
    config = json.loads((copy / "config.json").read_text())
    config |= {
        "model_type": "evil",
        "auto_map": {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"},
    }
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="cannot be loaded"):
        load_base(copy)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("config", "model", "settings"),
    [
        (GraniteConfig, GraniteForCausalLM, {"logits_scaling": 8.0, "initializer_range": 0.5}),
        # A cap far above the logits.
        (
            Gemma2Config,
            Gemma2ForCausalLM,
            {"final_logit_softcapping": 30.0, "initializer_range": 0.02, "head_dim": 16},
        ),
    ],
)
def test_a_head_that_scales_or_caps_its_logits_is_refused(
    tmp_path: Path, config: Any, model: Any, settings: dict[str, float]
) -> None:
    small = config(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        **settings,
    )
    model(small).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=rf"{model.__name__} caps, scales"):
        load_base(tmp_path)


def test_backbone_of_something_else_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="Linear"):
        backbone(torch.nn.Linear(2, 2))


def test_tokenizer_without_chat_template_is_refused(copy: Path) -> None:
    load_tokenizer(copy)
    (copy / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match="no chat template"):
        load_tokenizer(copy)


def test_a_mistral_folder_is_read_with_its_chat_template(copy: Path) -> None:
    """mistral-common, which has no chat templates, would take what such a folder has besides."""
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "mistral"}))
    (copy / "tekken.json").write_text("{}")
    assert load_tokenizer(copy).chat_template


def test_a_tokenizer_that_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mistral"}')
    with pytest.raises(UserError, match="no tokenizer can be loaded") as caught:
        load_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)


def test_vocabulary_may_be_larger_but_not_smaller_than_the_tokenizer(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    config = load_base(tiny_model).config
    check_vocabulary(tokenizer, config)
    config.vocab_size = len(tokenizer) + 64
    check_vocabulary(tokenizer, config)
    config.vocab_size = len(tokenizer) - 1
    with pytest.raises(UserError, match=f"has id {len(tokenizer) - 1}"):
        check_vocabulary(tokenizer, config)


def test_stop_tokens_join_tokenizer_and_generation_config(copy: Path) -> None:
    assert stop_token_ids(copy, load_tokenizer(copy)) == [0, 2]
    file = copy / "generation_config.json"
    file.write_text(json.dumps({"eos_token_id": 5}))
    assert stop_token_ids(copy, load_tokenizer(copy)) == [2, 5]
    file.unlink()
    assert stop_token_ids(copy, load_tokenizer(copy)) == [2]
    tokenizer = load_tokenizer(copy)
    assert stop_token_ids(copy, tokenizer, turn_end=7) == [2, 7]
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"eos_token_id": [3, 4]}))
    assert stop_token_ids(copy, tokenizer) == [2, 3, 4]
    (copy / "config.json").write_text(json.dumps(config | {"eos_token_id": None}))
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="no end token"):
        stop_token_ids(copy, tokenizer)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"eos_token_id": 2', "cannot be read as JSON"),
        ("", "cannot be read as JSON"),
        ("[2]", "must be a JSON object"),
        ('{"eos_token_id": "<|im_end|>"}', "must be a token id"),
        ('{"eos_token_id": [2, null]}', "must be a token id"),
        ('{"eos_token_id": true}', "must be a token id"),
    ],
)
def test_a_broken_generation_config_is_one_line(copy: Path, text: str, problem: str) -> None:
    (copy / "generation_config.json").write_text(text)
    with pytest.raises(UserError, match=rf"generation_config.json.*{problem}"):
        stop_token_ids(copy, load_tokenizer(copy))


def test_a_generation_config_may_begin_with_a_byte_order_mark(copy: Path) -> None:
    (copy / "generation_config.json").write_text('{"eos_token_id": 5}', encoding="utf-8-sig")
    assert stop_token_ids(copy, load_tokenizer(copy)) == [2, 5]


@pytest.mark.parametrize("wrapped", [True, False])
@torch.no_grad()
def test_layers_are_embeddings_outputs_of_blocks_and_the_last_norm(
    tiny_model: Path, wrapped: bool
) -> None:
    model = load_base(tiny_model)
    embeddings, blocks = model.model.embed_tokens, model.model.layers
    outputs: list[torch.Tensor] = []
    for block in blocks:
        block.register_forward_hook(
            lambda _, __, out: outputs.append(out[0] if isinstance(out, tuple) else out)
        )
    if wrapped:
        model = add_lora(model, LoraConfig(r=4), seed=0)
    final_BTH, states = layer_states(model, IDS_BT, (1, 0, -1, 2))
    # The rows, which have nothing in common, were read one behind the other.
    first_block_BTH = outputs[0].view_as(final_BTH)
    assert torch.equal(final_BTH, hidden_states(model, IDS_BT))
    assert torch.equal(states[0], first_block_BTH)
    assert torch.equal(states[1], embeddings(IDS_BT))
    assert torch.equal(states[2], final_BTH)
    assert torch.equal(states[3], final_BTH), "the last block counts after the norm"


def test_no_layers_cost_nothing_and_unknown_ones_are_named(tiny_model: Path) -> None:
    model = load_base(tiny_model)
    final_BTH, states = layer_states(model, IDS_BT, ())
    assert states == [] and torch.equal(final_BTH, hidden_states(model, IDS_BT))
    for layer in (3, -4):
        with pytest.raises(UserError, match=rf"objective\.features\.layers: {layer} "):
            layer_states(model, IDS_BT, (layer,))


def test_gradients_reach_the_adapter_through_an_inner_layer(tiny_model: Path) -> None:
    model = add_lora(load_base(tiny_model), LoraConfig(r=4), seed=0)
    layer_states(model, IDS_BT, (1,))[1][0].square().mean().backward()
    reached = {n for n, p in model.named_parameters() if p.grad is not None}
    assert any(".layers.0." in name for name in reached)
    assert not any(".layers.1." in name for name in reached)
