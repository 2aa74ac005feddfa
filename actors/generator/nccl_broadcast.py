"""NCCL broadcast: sends whole weights to all replicas at once, with vLLM's own weight transfer.

One process with a GPU of its own is rank 0, and the replicas' GPUs are the other ranks. The cost
of a push then hardly depends on the number of replicas. A group lasts as long as its members do; a
replica that joins later, or takes a lost one's place, loads from the object store first.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import ray

from actors.generator.engine import open_sender
from actors.runtime.calls import get_with_timeout
from actors.weights.buckets import BUCKET_BYTES, unpack
from actors.weights.tensor_checksum import TensorChecksum
from actors.weights.update import WeightUpdate
from unisd_core.config.run import Config

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Meta(NamedTuple):
    """Description of a tensor, which its receivers need before it arrives."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]


class ReplicaClient:
    """The calls that vLLM's sender makes to its receivers, here to all replicas at the same time.

    ``ranks`` is the number of ranks (GPUs) of one replica. Raises TimeoutError where a replica does
    not answer within ``limit_s`` seconds.
    """

    def __init__(self, replicas: list[Any], ranks: int, limit_s: float) -> None:
        self.replicas, self.ranks, self.limit_s = replicas, ranks, limit_s

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Join the group; the first rank of a replica follows the last of the one before."""
        first = init_info["rank_offset"]
        places = range(first, first + self.ranks * len(self.replicas), self.ranks)
        self._all("init", [init_info | {"rank_offset": place} for place in places])

    def start_weight_update(self) -> None:
        """Stop sampling and get ready to receive."""
        self._all("start", [{}] * len(self.replicas))

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Receive tensors while rank 0 sends them."""
        self._all("update", [update_info] * len(self.replicas))

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """Get ready to sample with the weights that were received."""
        self._all("finish", [{}] * len(self.replicas))

    def leave(self) -> None:
        """Leave the group."""
        self._all("leave", [{}] * len(self.replicas))

    def _all(self, step: str, infos: list[dict[str, Any]]) -> None:
        calls = [
            replica.transfer.remote(step, info)
            for replica, info in zip(self.replicas, infos, strict=True)
        ]
        get_with_timeout(calls, f"a generator replica ({step} of a broadcast)", self.limit_s)


class Source:
    """The weights of one version, tensor by tensor, named as in the checkpoint and in the type that
    engines compute in. An adapter is merged into the base weights on the way."""

    def __init__(self, config: Config, model_dir: Path, device: str) -> None:
        self.config, self.model_dir, self.device = config, model_dir, device
        self.state: Mapping[str, Tensor] = {}
        self.given = TensorChecksum()
        """Of the tensors that were given out last."""

    def metadata(self) -> list[Meta]:
        """Name, type and shape of each tensor, in the order in which they are sent."""
        from unisd_core.models.adapters.merge import stored_shapes

        shapes: Mapping[str, tuple[int, ...]]
        if self.config.model.finetune == "full":
            shapes = {name: tuple(tensor.shape) for name, tensor in self.state.items()}
        else:
            shapes = stored_shapes(self.model_dir)
        return [Meta(name, self._dtype, shape) for name, shape in shapes.items()]

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        from unisd_core.models.adapters.merge import merged_weights

        whole = self.config.model.finetune == "full"
        lora = self.config.model.lora
        weights = self.state.items() if whole else merged_weights(self.model_dir, self.state, lora)
        self.given = TensorChecksum()
        for name, tensor in weights:
            sent = tensor.to(self.device, self._dtype)
            self.given.add(name, sent)
            yield name, sent

    @property
    def _dtype(self) -> torch.dtype:
        import torch

        return getattr(torch, self.config.model.dtype)


class WeightSender:
    """Actor with a share of a GPU: rank 0 of the group."""

    def __init__(self, config: Config, model_dir: str, device: str = "cuda") -> None:
        self.config = config
        self.source = Source(config, Path(model_dir), device)
        self.client: ReplicaClient | None = None
        self.trainer: Any = None

    def send(self, update: WeightUpdate, replicas: list[Any]) -> str:
        """Send ``update`` to exactly these replicas; returns its ``TensorChecksum`` when all have
        it and wait to adopt it."""
        self.source.state = unpack(update)
        if self.client is None or self.client.replicas != replicas:
            self._form_group(replicas)
        self.trainer.send_weights()
        self.source.state = {}
        return self.source.given.hexdigest()

    def _form_group(self, replicas: list[Any]) -> None:
        settings = self.config.generator
        if self.client is not None:
            self.trainer.shutdown()
            # Replicas that are gone need not leave.
            staying = [one for one in self.client.replicas if one in replicas]
            ReplicaClient(staying, settings.tensor_parallel_size, settings.timeout_s).leave()
        self.client = ReplicaClient(replicas, settings.tensor_parallel_size, settings.timeout_s)
        address = ray.util.get_node_ip_address()
        world = 1 + settings.tensor_parallel_size * len(replicas)
        self.trainer = open_sender(
            self.client, self.source, address, _free_port(address), world, BUCKET_BYTES
        )


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
