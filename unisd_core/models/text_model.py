"""Takes the language model out of a checkpoint that also holds a vision tower.

Gemma-3 4B and larger come as image-and-text models. Text needs neither the tower nor the longer
names of its tensors, and LoRA targets named q_proj would hit the tower too.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from unisd_core.common.errors import UserError
from unisd_core.common.files import atomic_path
from unisd_core.common.user_text import read_json
from unisd_core.models.fetch import WEIGHT_INDEX, build_once, cache_folder, weight_files

# Checkpoints of different age nest the two names in either order.
PREFIXES = {
    "language_model.model.": "model.",
    "model.language_model.": "model.",
    "language_model.lm_head.": "lm_head.",
    "lm_head.": "lm_head.",
}


def text_model(folder: Path) -> Path:
    """``folder`` itself where it holds a language model; otherwise one with the language model
    inside it, made once and kept with the other models.

    Raises UserError where no causal language model is inside.
    """
    config = read_json(folder / "config.json")
    if "text_config" not in config:
        return folder
    return build_once(
        cache_folder() / "models" / f"text-{_digest(folder)}",
        lambda target: _extract(folder, config, target),
    )


def _extract(folder: Path, config: dict[str, Any], target: Path) -> None:
    kind = config["text_config"].get("model_type")
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise UserError(f"{folder}: holds no causal language model; choose a text model")
    target.mkdir(parents=True)
    places: dict[str, str] = {}
    for number, file in enumerate(weight_files(folder)):
        tensors = {}
        with safe_open(file, framework="pt") as shard:
            for name in shard.keys():  # noqa: SIM118  # safe_open is not iterable
                new = _text_name(name)
                if new is not None:
                    tensors[new] = shard.get_tensor(name)
        if tensors:
            part = f"model-{number:05d}.safetensors"
            with atomic_path(target / part) as temporary:
                save_file(tensors, temporary, metadata={"format": "pt"})
            places |= dict.fromkeys(tensors, part)
    if not places:
        raise UserError(f"{folder}: holds no tensors of a language model; fetch it again")
    (target / WEIGHT_INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    for file in folder.iterdir():
        side_file = file.is_file() and file.suffix in {".json", ".jinja", ".model", ".txt"}
        if side_file and file.name not in {WEIGHT_INDEX, "config.json"}:
            shutil.copyfile(file, target / file.name)
    text = AutoConfig.for_model(**config["text_config"]).to_dict()
    text["architectures"] = [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind]]
    for name in ("dtype", "tie_word_embeddings", "eos_token_id", "bos_token_id", "pad_token_id"):
        if name in config and name not in config["text_config"]:
            text[name] = config[name]
    (target / "config.json").write_text(json.dumps(text, indent=2, sort_keys=True) + "\n")


def _text_name(name: str) -> str | None:
    for prefix, new in PREFIXES.items():
        if name.startswith(prefix):
            return new + name.removeprefix(prefix)
    return None


def _digest(folder: Path) -> str:
    """Of the folder's place and what its files say of themselves; reading the weights would take
    minutes."""
    parts = [str(folder.resolve()), (folder / "config.json").read_text(encoding="utf-8")]
    for file in weight_files(folder):
        status = file.stat()
        parts.append(f"{file.name} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
