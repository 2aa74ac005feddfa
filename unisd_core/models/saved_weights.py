"""Finds trained weights on disk: a run's folder, a LoRA adapter, or a whole model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from unisd_core.common.errors import UserError, reason
from unisd_core.common.user_text import read_json
from unisd_core.config.run import Config, LoraConfig

_PLAIN = {"bias": "none", "use_dora": False, "use_rslora": False, "fan_in_fan_out": False}
"""What an adapter must be to be read as W + (alpha / rank) B A."""
_LIMITS = {"max_prompt_length", "max_view_length"}
"""What of a run's model section may be set anew where its weights are used."""
_EMPTY = ("rank_pattern", "alpha_pattern", "modules_to_save", "layers_to_transform")


@dataclass(frozen=True)
class SavedWeights:
    """``config`` with its model section set to what the weights belong to (limits of length that
    it sets itself stay), and the adapter's tensors by PEFT's names, None where the model is
    whole."""

    config: Config
    adapter: dict[str, Tensor] | None
    base: str | None = None
    """What a whole model of a run was trained from, as model.name_or_path; None where nothing
    says."""


def find_saved(path: str, config: Config) -> SavedWeights:
    """What ``path`` holds: a finished run (its ``adapter/`` or ``model/``), an adapter in PEFT's
    format, to be used on config.model.name_or_path, or a whole model folder.

    Raises UserError, naming the file, where it is none of them.
    """
    folder = Path(path).expanduser()
    if (folder / "config.yaml").is_file():
        run = Config.from_saved((folder / "config.yaml").resolve())
        given = {key: getattr(config.model, key) for key in _LIMITS & config.model.model_fields_set}
        config = config.model_copy(update={"model": run.model.model_copy(update=given)})
        for name in ("adapter", "model"):
            if (folder / name).is_dir():
                found = find_saved(str(folder / name), config)
                return replace(
                    found, base=run.model.name_or_path if found.adapter is None else None
                )
        raise UserError(f"{path}: this run has no trained weights yet; finish it first")
    if (folder / "adapter_config.json").is_file():
        tensors, lora = read_adapter(folder)
        return SavedWeights(config.with_model(lora=lora), tensors)
    if (folder / "config.json").is_file():
        return SavedWeights(config.with_model(name_or_path=str(folder.resolve())), None)
    raise UserError(f"{path}: neither a run folder nor an adapter nor a model; give one of them")


def read_adapter(folder: Path) -> tuple[dict[str, Tensor], LoraConfig]:
    """The float32 tensors of a PEFT folder by name, and the settings they are used with.

    Raises UserError, naming the file, where it is not a plain LoRA adapter.
    """
    return _read_tensors(folder), _read_lora(folder / "adapter_config.json")


def _read_lora(file: Path) -> LoraConfig:
    try:
        fields = read_json(file)
        if not isinstance(fields, dict):
            raise ValueError("no JSON object")
        for key, plain in _PLAIN.items():
            if fields.get(key, plain) != plain:
                raise ValueError(f"{key}={fields[key]!r} is not supported")
        for key in _EMPTY:
            if fields.get(key):
                raise ValueError(f"{key} is not supported")
        return LoraConfig(
            r=fields["r"],
            lora_alpha=float(fields["lora_alpha"]),
            target_modules=tuple(sorted(fields["target_modules"])),
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise UserError(f"{file}: cannot be used as a LoRA adapter ({reason(error)})") from None


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    file = folder / "adapter_model.safetensors"
    try:
        return {name: tensor.float() for name, tensor in load_file(file).items()}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file}: cannot be read ({reason(error)})") from None
