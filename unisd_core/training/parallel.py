"""The student over several processes: replicas (DDP), or shards of its blocks (FSDP2).

In both, gradients are averaged over the processes. What the objective reads whole (embeddings and
LM head) is never sharded; its gradients are averaged here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel


def parallelize(module: nn.Module, blocks: Sequence[nn.Module], sharding: str) -> nn.Module:
    """``module`` ready for training in all processes of the default group.

    ``sharding`` is learner.sharding; ``blocks`` are the parts that fsdp shards.
    """
    if sharding == "ddp":
        return DistributedDataParallel(module)
    inside = {parameter for block in blocks for parameter in block.parameters()}
    for block in blocks:
        fully_shard(block)
    fully_shard(module, ignored_params=set(module.parameters()) - inside - sharded(module))
    return module


def sharded(module: nn.Module) -> set[nn.Parameter]:
    """Parameters of which this process holds a shard."""
    return {p for p in module.parameters() if isinstance(p, DTensor)}


@contextlib.contextmanager
def no_grad_sync(module: nn.Module, back: bool) -> Iterator[None]:
    """Inside, gradients are only added up locally if ``back``: more micro-batches follow."""
    if isinstance(module, DistributedDataParallel):
        with module.no_sync() if back else contextlib.nullcontext():
            yield
        return
    if isinstance(module, FSDPModule):
        module.set_requires_gradient_sync(not back)
    yield


def synchronized_passes(module: nn.Module, batches: int) -> int:
    """Forward passes each process has to make: shards are only whole while all of them compute."""
    if not isinstance(module, FSDPModule):
        return batches
    # NCCL moves nothing that is on the CPU.
    most = torch.tensor([batches], device=next(module.parameters()).device)
    dist.all_reduce(most, dist.ReduceOp.MAX)
    return int(most)


def average_replicated(module: nn.Module, parameters: Sequence[nn.Parameter]) -> None:
    """Average the gradients of what FSDP leaves whole."""
    if not isinstance(module, FSDPModule):
        return
    for parameter in parameters:
        if parameter.grad is not None and not isinstance(parameter.grad, DTensor):
            dist.all_reduce(parameter.grad)
            parameter.grad /= dist.get_world_size()


@torch.no_grad()
def clip_gradients(parameters: Sequence[nn.Parameter], limit: float) -> Tensor:
    """Scale all gradients down to a Euclidean norm of ``limit`` over the whole model; returns
    the norm before."""
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not any(isinstance(grad, DTensor) for grad in grads):
        return torch.nn.utils.clip_grad_norm_(parameters, limit)
    squares = torch.zeros(2, device=grads[0].device)
    for grad in grads:
        own = grad.to_local() if isinstance(grad, DTensor) else grad
        squares[int(isinstance(grad, DTensor))] += own.square().sum()
    shards = squares[1:].clone()
    dist.all_reduce(shards)
    norm = (squares[0] + shards[0]).sqrt()
    for grad in grads:
        (grad.to_local() if isinstance(grad, DTensor) else grad).mul_((limit / norm).clamp(max=1))
    return norm
