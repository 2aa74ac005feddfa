"""Adapter settings: ``adapter_config.json`` read as plain LoRA, or refused.

Tensors say which modules are adapted and with which rank. What else a setting may do to the
computation is not known for every version of PEFT, so all that is not listed here must be off.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from unisd_core.common.errors import UserError, reason, shorten
from unisd_core.common.user_text import read_json
from unisd_core.config.run import LoraConfig

_READ = {
    "r", "lora_alpha", "use_rslora", "target_modules", "exclude_modules", "layers_to_transform",
    "layers_pattern", "base_model_name_or_path", "revision",
}  # fmt: skip
"""Settings that are taken into account."""
_FREE = {
    "auto_mapping", "peft_version", "inference_mode", "lora_dropout", "megatron_core",
    "qalora_group_size", "loftq_config", "eva_config", "corda_config", "lora_ga_config",
}  # fmt: skip
"""Settings of training or of a method that another setting turns on, and notes."""
_VALUES: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "task_type": (None, "CAUSAL_LM"),
    "bias": ("none",),
    "init_lora_weights": (True, False, "gaussian", "eva", "orthogonal", "mica"),
}
"""The others leave the base as it is; an adapter that began in another way, such as PiSSA, is one
of a changed base until PEFT has converted it."""
_CONVERT = "if it changed the base, save it with PEFT's path_initial_model_for_weight_conversion"
_ALL = "all-linear"
_TENSOR = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")


@dataclass(frozen=True)
class AdapterSettings:
    """``lora``, how the tensors are used; the model that the adapter was trained on and its
    revision, "" where they are not named."""

    lora: LoraConfig
    base: str
    revision: str


def read_settings(file: Path, tensors: Mapping[str, Tensor]) -> AdapterSettings:
    """The settings in ``file`` (adapter_config.json) of an adapter with these tensors.

    rsLoRA's scale alpha / sqrt(r) becomes an alpha of that scale. Targets that are given as a
    pattern or by layers become the modules that have tensors. Raises UserError, naming the file,
    the key and its value, where the adapter is anything but W + scale * B A on its base.
    """
    try:
        fields = read_json(file)
        if not isinstance(fields, dict):
            raise ValueError("no JSON object")
        _check_plain(fields)
        _check_numbers(fields)
        lora = LoraConfig(
            r=fields["r"],
            lora_alpha=_alpha(fields),
            target_modules=_targets(fields, _modules(tensors, fields["r"])),
        )
        named = [fields.get(key) or "" for key in ("base_model_name_or_path", "revision")]
        base, revision = (value if isinstance(value, str) else "" for value in named)
        return AdapterSettings(lora, base, revision)
    except (
        OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError, re.error,
    ) as error:  # fmt: skip
        raise UserError(f"{file}: cannot be used as a LoRA adapter ({reason(error)})") from None


def _check_plain(fields: Mapping[str, Any]) -> None:
    for key, value in fields.items():
        if key in _VALUES:
            plain = any(type(value) is type(known) and value == known for known in _VALUES[key])
        else:
            plain = key in _READ or key in _FREE or not value
        if not plain:
            said = f"{shorten(key, 40)}={shorten(json.dumps(value), 60)} is not supported"
            advice = f"; {_CONVERT}" if key == "init_lora_weights" else ""
            raise ValueError(said + advice)


def _check_numbers(fields: Mapping[str, Any]) -> None:
    wanted: dict[str, tuple[type, ...]] = {"r": (int,), "lora_alpha": (int, float)}
    for key, types in wanted.items():
        if type(fields[key]) not in types or not fields[key] > 0:
            raise ValueError(f"{key}={shorten(json.dumps(fields[key]), 60)} is not supported")
    if not isinstance(fields.get("use_rslora", False), bool):
        raise ValueError("use_rslora is neither true nor false, which is not supported")


def _alpha(fields: Mapping[str, Any]) -> float:
    alpha = float(fields["lora_alpha"])
    return alpha * math.sqrt(fields["r"]) if fields.get("use_rslora") else alpha


def _modules(tensors: Mapping[str, Tensor], rank: int) -> list[str]:
    """The modules that ``tensors`` adapt. Raises ValueError where they are not one A (rank, in)
    and one B (out, rank) for each."""
    sides: dict[str, set[str]] = {}
    for name, tensor in tensors.items():
        found = _TENSOR.fullmatch(name)
        if found is None:
            raise ValueError(f"tensor {shorten(name)} is neither a lora_A nor a lora_B weight")
        if tensor.dim() != 2 or tensor.shape[found["side"] == "B"] != rank:
            shape = tuple(tensor.shape)
            raise ValueError(f"tensor {shorten(name)} of shape {shape} has not the rank r={rank}")
        sides.setdefault(found["module"], set()).add(found["side"])
    for module, present in sides.items():
        if len(present) == 1:
            raise ValueError(f"{shorten(module)} has lora_{min(present)} alone")
    if not sides:
        raise ValueError("no tensors")
    return sorted(sides)


def _targets(fields: Mapping[str, Any], modules: Sequence[str]) -> tuple[str, ...]:
    """Names under which ``add_lora`` finds exactly ``modules``. Raises ValueError for a module
    that the settings leave out, as PEFT would ignore its tensors."""
    targets = fields["target_modules"]
    narrowed = {
        key: fields[key]
        for key in ("exclude_modules", "layers_to_transform", "layers_pattern")
        if fields.get(key) not in (None, [], "")
    }
    if isinstance(targets, str) or narrowed:
        matches = _peft_match(targets, narrowed, modules)
    elif isinstance(targets, list) and all(isinstance(target, str) for target in targets):
        matches = [any(f".{module}".endswith(f".{name}") for name in targets) for module in modules]
    else:
        raise ValueError(f"target_modules={shorten(json.dumps(targets), 60)} is not supported")
    for module, match in zip(modules, matches, strict=True):
        if not match:
            raise ValueError(f"target_modules leaves out {shorten(module)}, which has tensors")
    plain = not isinstance(targets, str) and not narrowed
    return tuple(sorted(targets if plain else modules))


def _peft_match(targets: Any, narrowed: Mapping[str, Any], modules: Sequence[str]) -> list[bool]:
    """Whether PEFT adapts each of ``modules`` by these settings."""
    # Late: an engine's worker reads adapters too, whose targets are plain names.
    from peft import LoraConfig as PeftLoraConfig
    from peft.tuners.tuners_utils import check_target_module_exists

    everywhere = isinstance(targets, str) and targets.lower() == _ALL
    config = PeftLoraConfig(target_modules=list(modules) if everywhere else targets, **narrowed)
    return [bool(check_target_module_exists(config, module)) for module in modules]
