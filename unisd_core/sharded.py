"""Tensors of which each process holds a shard (FSDP2), read and written as wholes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def whole(tensor: Tensor) -> Tensor:
    """``tensor`` itself, or all its shards put together; then every process has to call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(source: Tensor, target: Tensor) -> Tensor:
    """The whole ``source`` laid out as ``target`` is: same device, type and shards."""
    source = source.to(target.device, target.dtype)
    if not isinstance(target, DTensor):
        return source
    # Every process has the whole source; nothing needs to be sent.
    return distribute_tensor(source, target.device_mesh, target.placements, src_data_rank=None)


@torch.no_grad()
def put(target: Tensor, source: Tensor) -> None:
    """Copy the whole ``source`` into ``target`` in place."""
    target.copy_(like(source, target))
