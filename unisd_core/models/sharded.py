"""Parameters read and written as whole tensors, also where a process holds a shard (FSDP2)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from unisd_core.common.errors import UserError


def full_tensor(tensor: Tensor) -> Tensor:
    """``tensor`` itself, or all its shards put together; then every process has to call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def distribute_like(source: Tensor, target: Tensor) -> Tensor:
    """The whole ``source`` laid out as ``target`` is: same device, type and shards."""
    source = source.to(target.device, target.dtype)
    if not isinstance(target, DTensor):
        return source
    # Every process has the whole source; nothing needs to be sent.
    return distribute_tensor(source, target.device_mesh, target.placements, src_data_rank=None)


def read_all(live: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Float32 CPU copies of ``live``, sorted by name. Shards are put together: every process has to
    call this."""
    return {
        name: full_tensor(live[name]).detach().to("cpu", torch.float32, copy=True)
        for name in sorted(live)
    }


@torch.no_grad()
def write_all(
    live: Mapping[str, Tensor], state: Mapping[str, Tensor], what: str, advice: str
) -> None:
    """Copy the whole tensors of ``state`` into ``live`` in place.

    Raises UserError ("<what> does not fit the model: ...; <advice>") naming the first tensor that
    is missing, unknown or of another shape; ``live`` is then unchanged.
    """
    problems = [f"{name} is missing" for name in sorted(live.keys() - state.keys())]
    problems += [f"{name} is unknown" for name in sorted(state.keys() - live.keys())]
    problems += [
        f"{name} is {tuple(state[name].shape)} instead of {tuple(live[name].shape)}"
        for name in sorted(live.keys() & state.keys())
        if state[name].shape != live[name].shape
    ]
    if problems:
        raise UserError(
            f"{what} does not fit the model: {problems[0]} ({len(problems)} such); {advice}"
        )
    for name, parameter in live.items():
        parameter.copy_(distribute_like(state[name], parameter))
