"""One seam for what is trained: adapters and whole models go out, come back and are saved alike."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.support.tiny import make_tiny_model
from unisd_core.common.errors import UserError
from unisd_core.config.run import Config
from unisd_core.models.load import load_base, load_tokenizer
from unisd_core.models.lora import save_full
from unisd_core.models.trained_weights import (
    load_trained_state,
    make_trainable,
    save_trained,
    trained_state,
)

IDS_BT = torch.arange(8, 40).reshape(2, 16)
KINDS = ("lora", "full")


def config(finetune: str, dtype: str = "float32") -> Config:
    return Config.model_validate({"model": {"finetune": finetune, "dtype": dtype}})


def trainable(folder: Path, finetune: str, dtype: str = "float32") -> torch.nn.Module:
    return make_trainable(load_base(folder, dtype), config(finetune, dtype))


def moved(state: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: tensor + 0.02 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in state.items()
    }


@torch.no_grad()
def logits(model: torch.nn.Module) -> Tensor:
    return model(input_ids=IDS_BT).logits


@pytest.mark.parametrize("finetune", KINDS)
def test_what_is_trained_starts_as_the_base_model(tiny_model: Path, finetune: str) -> None:
    assert torch.equal(logits(trainable(tiny_model, finetune)), logits(load_base(tiny_model)))


@pytest.mark.parametrize("finetune", KINDS)
def test_what_is_trained_is_float32_whatever_is_stored(tiny_model: Path, finetune: str) -> None:
    model = trainable(tiny_model, finetune, "bfloat16")
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    assert {tensor.dtype for tensor in trained_state(model).values()} == {torch.float32}


@pytest.mark.parametrize("tied", [True, False])
def test_whole_weights_have_the_names_of_the_checkpoint_and_tied_ones_occur_once(
    tmp_path: Path, tied: bool
) -> None:
    folder = make_tiny_model(tmp_path / "m", tie_word_embeddings=tied)
    state = trained_state(trainable(folder, "full"))
    stored = load_file(folder / "model.safetensors")
    assert state.keys() == stored.keys()
    assert ("lm_head.weight" in state) is not tied
    assert all(torch.equal(state[name], stored[name]) for name in stored)


@pytest.mark.parametrize("finetune", KINDS)
def test_a_state_is_a_copy_and_another_copy_of_the_model_takes_it(
    tiny_model: Path, finetune: str
) -> None:
    model, other = (trainable(tiny_model, finetune) for _ in range(2))
    places = {name: p.data_ptr() for name, p in other.named_parameters()}
    state = moved(trained_state(model))
    load_trained_state(other, state)
    assert all(torch.equal(trained_state(other)[name], state[name]) for name in state)
    assert {name: p.data_ptr() for name, p in other.named_parameters()} == places
    assert not torch.equal(logits(other), logits(model)), "the first model is left alone"


@pytest.mark.parametrize("finetune", KINDS)
def test_a_state_that_does_not_fit_is_named_and_changes_nothing(
    tiny_model: Path, finetune: str
) -> None:
    model = trainable(tiny_model, finetune)
    before = trained_state(model)
    first = min(before)
    zeros = {name: torch.zeros_like(tensor) for name, tensor in before.items()}
    for wrong in (
        {name: tensor for name, tensor in zeros.items() if name != first},
        {**zeros, first: torch.zeros(9, 9)},
    ):
        with pytest.raises(UserError, match=first):
            load_trained_state(model, wrong)
    with pytest.raises(UserError, match="stranger"):
        load_trained_state(model, {**zeros, "stranger": torch.zeros(1)})
    assert all(torch.equal(trained_state(model)[name], before[name]) for name in before)


@pytest.mark.parametrize("tied", [True, False])
def test_the_saved_model_is_the_trained_one(tmp_path: Path, tied: bool) -> None:
    folder = make_tiny_model(tmp_path / "m", tie_word_embeddings=tied)
    model = trainable(folder, "full")
    load_trained_state(model, moved(trained_state(model)))
    saved = save_trained(config("full"), trained_state(model), folder, tmp_path / "run")
    assert saved == tmp_path / "run" / "model"
    again = load_base(saved)
    assert torch.equal(logits(again), logits(model))
    assert not torch.equal(logits(again), logits(load_base(folder)))
    assert load_tokenizer(saved).chat_template == load_tokenizer(folder).chat_template


def test_an_adapter_is_saved_for_peft(tiny_model: Path, tmp_path: Path) -> None:
    state = trained_state(trainable(tiny_model, "lora"))
    saved = save_trained(config("lora"), state, tiny_model, tmp_path)
    assert saved == tmp_path / "adapter" and (saved / "adapter_config.json").is_file()


def test_a_tied_head_that_is_stored_all_the_same_does_not_come_back_stale(
    tmp_path: Path,
) -> None:
    folder = make_tiny_model(tmp_path / "m", tie_word_embeddings=True)
    stored = load_file(folder / "model.safetensors")
    stored["lm_head.weight"] = stored["model.embed_tokens.weight"].clone()
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    model = trainable(folder, "full")
    load_trained_state(model, moved(trained_state(model)))
    save_full(folder, trained_state(model), tmp_path / "out")
    assert torch.equal(logits(load_base(tmp_path / "out")), logits(model))


def test_weights_of_another_checkpoint_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="stranger"):
        save_full(tiny_model, {"stranger": torch.zeros(1)}, tmp_path / "out")
