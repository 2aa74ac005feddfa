"""Checkpoint plus adapter: the weights that a model with its LoRA folded in has.

Needs neither PEFT nor transformers, so that an engine's worker can merge for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from unisd_core.common.errors import UserError
from unisd_core.config.run import LoraConfig
from unisd_core.models.fetch import weight_files

_PREFIX = "base_model.model."


def merged_weights(
    base: Path | Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    lora: LoraConfig,
    *,
    everything: bool = True,
) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the checkpoint ``base`` by name, adapted ones as W + (alpha/rank) B A.

    ``base`` is a model folder or a mapping of its tensors and is only read: each call starts from
    the pristine weights, so versions do not accumulate rounding. Adapted tensors are float32 on
    the CPU, the others are handed through as stored, without a copy. ``everything`` False leaves
    out what stands in a module of which nothing is adapted, as embeddings and norms do: whoever has
    the base has those. The rest of a module comes along, as it may be fused with what is adapted.
    Raises UserError when a tensor of ``state`` has no weight to go to.
    """
    unused = set(state)
    # model.layers.0.mlp of base_model.model.model.layers.0.mlp.up_proj.lora_A.weight
    modules = {_parent(_parent(_parent(key.removeprefix(_PREFIX)))) for key in state}

    def wanted(name: str) -> bool:
        return everything or _parent(_parent(name)) in modules

    for name, weight in stored_tensors(base, wanted):
        stem = _PREFIX + name.removesuffix("weight")
        key_a, key_b = stem + "lora_A.weight", stem + "lora_B.weight"
        if key_a in state and key_b in state:
            unused -= {key_a, key_b}
            wide = weight.to("cpu", torch.float32)
            yield (
                name,
                torch.addmm(wide, state[key_b].float(), state[key_a].float(), alpha=lora.scale),
            )
        else:
            yield name, weight
    if unused:
        raise UserError(f"adapter does not fit the checkpoint: nothing to merge {min(unused)} into")


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def stored_tensors(
    base: Path | Mapping[str, Tensor], wanted: Callable[[str], bool] = lambda _: True
) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a model folder, or of a mapping, whose name is ``wanted``."""
    if isinstance(base, Mapping):
        yield from ((name, tensor) for name, tensor in base.items() if wanted(name))
        return
    for file in weight_files(base):
        with safe_open(file, framework="pt") as shard:
            names = [name for name in shard.keys() if wanted(name)]  # noqa: SIM118  # no iterator
        for name in names:
            # Opened anew for each: what was read of a file counts as this process' memory for as
            # long as a tensor of that opening lives.
            with safe_open(file, framework="pt") as shard:
                tensor = shard.get_tensor(name)
            yield name, tensor


def stored_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor of a model folder, in the order of ``merged_weights``; reads only
    headers."""
    shapes = {}
    for file in weight_files(folder):
        with safe_open(file, framework="pt") as shard:
            for name in shard.keys():  # noqa: SIM118  # safe_open is not iterable
                shapes[name] = tuple(shard.get_slice(name).get_shape())
    return shapes
