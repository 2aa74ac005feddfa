"""The weights that training changes, behind one seam: a LoRA adapter, or the whole model.

Their state is a plain mapping from names to float32 CPU tensors, which is trained, averaged,
published, checksummed and saved in the same way for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from unisd_core.config.run import Config
from unisd_core.models.lora import (
    adapter_state,
    add_lora,
    load_adapter_state,
    save_adapter,
    save_full,
)
from unisd_core.models.sharded import read_all, write_all


def make_trainable(model: PreTrainedModel, config: Config) -> nn.Module:
    """``model`` with what model.finetune trains: a fresh adapter whose update is zero, or all its
    weights in float32."""
    if config.model.finetune == "lora":
        return add_lora(model, config.model.lora, config.seed)
    return model.float().requires_grad_(True)


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """The trained weights; tied ones occur once. See ``read_all``."""
    if isinstance(model, PeftModel):
        return adapter_state(model)
    return read_all(dict(model.named_parameters()))


def load_trained_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy ``state`` into the model in place, so that optimizers keep their tensors.

    Raises UserError where it does not fit; see ``write_all``.
    """
    if isinstance(model, PeftModel):
        load_adapter_state(model, state)
        return
    advice = "use the model.name_or_path they were trained from"
    write_all(dict(model.named_parameters()), state, "weights", advice)


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
