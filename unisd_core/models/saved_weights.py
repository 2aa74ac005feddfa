"""Finds trained weights on disk: a run's folder, a LoRA adapter, or a whole model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from unisd_core.common.errors import UserError, reason
from unisd_core.config.run import Config, LoraConfig
from unisd_core.models.adapters.base_model import check_base
from unisd_core.models.adapters.settings import read_settings

_LIMITS = {"max_prompt_length", "max_view_length"}
"""What of a run's model section may be set anew where its weights are used."""


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


def find_saved(path: str, config: Config, *, any_base: bool = False) -> SavedWeights:
    """What ``path`` holds: a finished run (its ``adapter/`` or ``model/``), an adapter in PEFT's
    format, to be used on config.model.name_or_path, or a whole model folder.

    Raises UserError, naming the file, where it is none of them, and for an adapter of another
    model unless ``any_base``; see ``check_base``.
    """
    folder = Path(path).expanduser()
    if (folder / "config.yaml").is_file():
        return _of_run(folder, config, any_base)
    if (folder / "adapter_config.json").is_file():
        return _of_adapter(folder, config, any_base)
    if (folder / "config.json").is_file():
        return SavedWeights(config.with_model(name_or_path=str(folder.resolve())), None)
    raise UserError(f"{path}: neither a run folder nor an adapter nor a model; give one of them")


def read_adapter(folder: Path) -> tuple[dict[str, Tensor], LoraConfig]:
    """The float32 tensors of a PEFT folder by name, and the settings they are used with.

    Raises UserError, naming the file, where it is not a plain LoRA adapter.
    """
    tensors = _read_tensors(folder)
    return tensors, read_settings(folder / "adapter_config.json", tensors).lora


def _of_run(folder: Path, config: Config, any_base: bool) -> SavedWeights:
    run = Config.from_saved((folder / "config.yaml").resolve())
    given = {key: getattr(config.model, key) for key in _LIMITS & config.model.model_fields_set}
    config = config.model_copy(update={"model": run.model.model_copy(update=given)})
    if (folder / "adapter").is_dir():
        # The run itself says what its adapter belongs to.
        return _of_adapter(folder / "adapter", config, any_base, notice=False)
    if (folder / "model").is_dir():
        found = find_saved(str(folder / "model"), config)
        return replace(found, base=run.model.name_or_path)
    raise UserError(f"{folder}: this run has no trained weights yet; finish it first")


def _of_adapter(
    folder: Path, config: Config, any_base: bool, *, notice: bool = True
) -> SavedWeights:
    file, tensors = folder / "adapter_config.json", _read_tensors(folder)
    settings = read_settings(file, tensors)
    if not any_base:
        used = config.model.name_or_path
        check_base(file, settings.base, settings.revision, used, notice=notice)
    return SavedWeights(config.with_model(lora=settings.lora), tensors)


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    file = folder / "adapter_model.safetensors"
    try:
        return {name: tensor.float() for name, tensor in load_file(file).items()}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file}: cannot be read ({reason(error)})") from None
