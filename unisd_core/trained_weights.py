"""The weights that training changes, behind one seam: a LoRA adapter, or the whole model.

Their state is a plain mapping from names to float32 CPU tensors, which is trained, averaged,
published, checksummed and saved in the same way for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from unisd_core.adapters import (
    adapter_state,
    add_lora,
    load_adapter_state,
    save_adapter,
    save_full,
)
from unisd_core.config import Config
from unisd_core.errors import UserError
from unisd_core.sharded import put, whole


def make_trainable(model: PreTrainedModel, config: Config) -> nn.Module:
    """``model`` with what model.finetune trains: a fresh adapter whose update is zero, or all its
    weights in float32."""
    if config.model.finetune == "lora":
        return add_lora(model, config.model.lora, config.seed)
    return model.float().requires_grad_(True)


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """Float32 CPU copies of the trained weights, sorted by name; tied weights occur once.

    Sharded weights are gathered: every process has to call this."""
    if isinstance(model, PeftModel):
        return adapter_state(model)
    live = dict(model.named_parameters())
    return {
        name: whole(live[name]).detach().to("cpu", torch.float32, copy=True)
        for name in sorted(live)
    }


@torch.no_grad()
def load_trained_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy ``state`` into the model in place, so that optimizers keep their tensors.

    Raises UserError naming the first tensor that is missing, unknown or of another shape; the
    model is then unchanged.
    """
    if isinstance(model, PeftModel):
        load_adapter_state(model, state)
        return
    live = dict(model.named_parameters())
    wrong = sorted(
        name
        for name in live.keys() | state.keys()
        if name not in live or name not in state or live[name].shape != state[name].shape
    )
    if wrong:
        raise UserError(
            f"weights do not fit the model: {wrong[0]} ({len(wrong)} such); use the model.path "
            "they were trained from"
        )
    for name, parameter in live.items():
        put(parameter, state[name])


def save_trained(
    config: Config, state: Mapping[str, Tensor], model_dir: Path, folder: Path
) -> Path:
    """Write the result of a run below ``folder``: ``adapter/`` for PEFT, or ``model/``, a whole
    model folder. Returns what was written."""
    if config.model.finetune == "lora":
        save_adapter(state, config.model.lora, model_dir, folder / "adapter")
        return folder / "adapter"
    save_full(model_dir, state, folder / "model")
    return folder / "model"
