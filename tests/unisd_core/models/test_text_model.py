"""The language model inside an image-and-text checkpoint is what that checkpoint computes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, Gemma3Config, Gemma3ForConditionalGeneration

from tests.support.tiny import make_tiny_model
from unisd_core.common.errors import UserError
from unisd_core.config.run import LoraConfig
from unisd_core.models.adapters.merge import merged_weights
from unisd_core.models.load import load_base
from unisd_core.models.lora import adapter_state, add_lora
from unisd_core.models.text_model import text_model

LORA = LoraConfig(r=2, lora_alpha=4.0)
IDS_BT = torch.arange(20, 60).unsqueeze(0)


@pytest.fixture
def multimodal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNISD_CACHE", str(tmp_path / "cache"))
    text = make_tiny_model(tmp_path / "text", family="gemma3")
    settings = json.loads((text / "config.json").read_text())
    vision = {
        "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 2, "image_size": 28, "patch_size": 14,
    }  # fmt: skip
    torch.manual_seed(0)
    model = Gemma3ForConditionalGeneration(
        Gemma3Config(text_config=settings, vision_config=vision, mm_tokens_per_image=4)
    )
    model.save_pretrained(tmp_path / "both")
    AutoTokenizer.from_pretrained(text).save_pretrained(tmp_path / "both")
    return tmp_path / "both"


@torch.no_grad()
def test_it_computes_the_same(multimodal: Path) -> None:
    folder = text_model(multimodal)
    whole = Gemma3ForConditionalGeneration.from_pretrained(multimodal)
    model = load_base(folder)
    assert type(model).__name__ == "Gemma3ForCausalLM"
    expected = whole(input_ids=IDS_BT).logits
    torch.testing.assert_close(model(input_ids=IDS_BT).logits, expected, atol=1e-5, rtol=1e-5)


def test_an_adapter_on_it_reaches_no_tower_and_merges(multimodal: Path) -> None:
    folder = text_model(multimodal)
    state = adapter_state(add_lora(load_base(folder), LORA, seed=0))
    assert not any("vision" in name for name in state)
    assert len(dict(merged_weights(folder, state, LORA))) > len(state) / 2


def test_it_is_made_once_and_a_text_model_is_left_alone(multimodal: Path) -> None:
    folder = text_model(multimodal)
    before = (folder / "config.json").stat().st_mtime_ns
    assert text_model(multimodal) == folder
    assert (folder / "config.json").stat().st_mtime_ns == before
    assert text_model(folder) == folder


def test_a_checkpoint_without_a_language_model_is_refused(multimodal: Path) -> None:
    path = multimodal / "config.json"
    config = json.loads(path.read_text())
    config["text_config"]["model_type"] = "clip_text_model"
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match="no causal language model"):
        text_model(multimodal)
