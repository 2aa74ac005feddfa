"""LoRA: adding it to a model, moving its tensors in and out, and merging it into a checkpoint.

An adapter's state is a plain mapping from PEFT's file names
(``base_model.model.<module>.lora_A.weight``) to float32 CPU tensors, so that what is trained,
averaged, published, saved and merged is the same thing everywhere. The update of a weight W is
(alpha / rank) * B A with A of shape (rank, in) and B of shape (out, rank).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, get_peft_model
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from unisd_core.common.errors import UserError
from unisd_core.common.files import atomic_path
from unisd_core.common.user_text import read_json
from unisd_core.config.run import LoraConfig
from unisd_core.models.acceleration.lora_linear import LoraLinear
from unisd_core.models.adapters.merge import merged_weights, stored_tensors
from unisd_core.models.fetch import WEIGHT_INDEX
from unisd_core.models.sharded import read_all, write_all


def add_lora(model: PreTrainedModel, lora: LoraConfig, seed: int) -> PeftModel:
    """Wrap ``model`` with a trainable float32 adapter; at the start B = 0, so nothing changes.

    A depends on ``seed`` only; the caller's random state is left as it was.
    Raises UserError for a target that names no linear layer, or the LM head: the objective
    reads the head's weight, so the head stays as it is.
    """
    head = model.get_output_embeddings()
    for target in lora.target_modules:
        layers = [
            layer
            for name, layer in model.named_modules()
            if name == target or name.endswith("." + target)
        ]
        if not layers:
            raise UserError(
                f"model.lora.target_modules: {target} names no layer of {type(model).__name__}; "
                f"remove it"
            )
        if any(layer is head or type(layer) is not nn.Linear for layer in layers):
            raise UserError(
                f"model.lora.target_modules: {target} is not a plain hidden linear layer; remove it"
            )
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        return get_peft_model(model, _peft_config(lora))


def adapter_state(model: nn.Module) -> dict[str, Tensor]:
    """The adapter's tensors; see ``read_all``."""
    return read_all(_adapter_parameters(model))


def load_adapter_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy ``state`` into the adapter of ``model`` in place, so that optimizers keep their tensors.

    Raises UserError where it does not fit; see ``write_all``.
    """
    advice = "use the model.lora settings it was trained with"
    write_all(_adapter_parameters(model), state, "adapter", advice)


def save_adapter(
    adapter: nn.Module | Mapping[str, Tensor], lora: LoraConfig, base: Path | str, folder: Path
) -> None:
    """Write ``adapter`` (a model that carries one, or its state) as a PEFT folder.

    PEFT and vLLM load it. Equal states give equal bytes. ``base`` is recorded as the base model.
    """
    state = adapter if isinstance(adapter, Mapping) else adapter_state(adapter)
    config = _peft_config(lora)
    config.base_model_name_or_path = str(base)
    config.inference_mode = True
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(str(folder))
    # PEFT keeps the targets as a set, whose order changes from process to process.
    path = folder / "adapter_config.json"
    fields = json.loads(path.read_text())
    fields["target_modules"] = sorted(fields["target_modules"])
    path.write_text(json.dumps(fields, indent=2, sort_keys=True))
    tensors = {name: tensor.detach().float().contiguous() for name, tensor in sorted(state.items())}
    with atomic_path(folder / "adapter_model.safetensors") as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})


def adapter_checksum(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over the sorted names and the float32 bytes of the tensors."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode() + b"\0")
        digest.update(state[name].detach().to("cpu", torch.float32).contiguous().numpy().data)
    return digest.hexdigest()


@torch.no_grad()
def save_merged(
    folder_in: Path,
    state: Mapping[str, Tensor],
    lora: LoraConfig,
    folder_out: Path,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write ``folder_in`` with the adapter merged as a whole model folder: one safetensors file,
    configuration and tokenizer.

    Floating tensors are stored as ``dtype``, and the configuration says so. float32 keeps what the
    student computed; a checkpoint stored in bfloat16 would round small updates away.
    """
    tensors = dict(merged_weights(folder_in, state, lora))
    _save_model(folder_in, tensors, folder_out, dtype)


def save_full(
    folder_in: Path,
    state: Mapping[str, Tensor],
    folder_out: Path,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write ``folder_in`` with its weights replaced by those of ``state`` as a whole model folder.

    Raises UserError when a tensor of the state is unknown to the checkpoint. What the state does
    not hold (a tied head that is stored all the same) is left out; loading ties it again.
    """
    known = {name for name, _ in stored_tensors(folder_in)}
    unknown = sorted(state.keys() - known)
    if unknown:
        raise UserError(f"weights do not fit the checkpoint: it has no {unknown[0]}")
    _save_model(folder_in, state, folder_out, dtype)


def _save_model(
    folder_in: Path, weights: Mapping[str, Tensor], folder_out: Path, dtype: torch.dtype
) -> None:
    folder_out.mkdir(parents=True, exist_ok=True)
    for file in folder_in.iterdir():
        side_file = file.is_file() and file.suffix in {".json", ".jinja", ".model", ".txt"}
        if side_file and file.name not in {WEIGHT_INDEX, "config.json"}:
            shutil.copyfile(file, folder_out / file.name)
    config = read_json(folder_in / "config.json")
    config.pop("torch_dtype", None)
    config["dtype"] = str(dtype).removeprefix("torch.")
    (folder_out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    tensors = {
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in weights.items()
    }
    with atomic_path(folder_out / "model.safetensors") as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})


def _peft_config(lora: LoraConfig) -> PeftLoraConfig:
    config = PeftLoraConfig(
        r=lora.r,
        # PEFT and vLLM declare a whole number but only divide by the rank, so a fraction serves.
        lora_alpha=int(lora.lora_alpha) if lora.lora_alpha.is_integer() else lora.lora_alpha,
        target_modules=list(lora.target_modules),
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
    )
    config._register_custom_module({nn.Linear: LoraLinear})
    return config


def _adapter_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    found = {
        name.replace(".default.", "."): parameter
        for name, parameter in model.named_parameters()
        if ".lora_A." in name or ".lora_B." in name
    }
    if not found:
        raise ValueError(f"{type(model).__name__} carries no LoRA adapter")
    return found
