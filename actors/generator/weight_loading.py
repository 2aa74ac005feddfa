"""Weight loading: two transports that bring a new policy version into one engine.

``AdapterTransport`` loads the LoRA adapter under a name that is never used again. Rollouts in
flight finish under the version they began with. ``MergedTransport`` replaces the weights in place,
merged from the float32 base each time. Rollouts in flight continue under the new version and are
stamped with both.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from actors.generator.engine import Engine
from actors.weights.buckets import unpack
from actors.weights.update import WeightUpdate
from unisd_core.config.run import Config
from unisd_core.models.lora import save_adapter, save_full


@dataclass(frozen=True)
class ServedVersion:
    """The weights that a request is sampled with."""

    version: int
    serial: int = 0
    """Number of the load; a version may be loaded again after a rollback."""
    adapter: Any = None
    """The engine's handle of the adapter; None where the weights are in place."""


class Transport(ABC):
    """Loads updates into one engine and knows which version serves a request."""

    in_place: bool
    """Whether running requests continue under the new version."""

    def __init__(self, engine: Engine, config: Config, model_dir: Path) -> None:
        self.engine, self.config, self.model_dir = engine, config, model_dir
        self.serving = ServedVersion(0)

    @property
    def version(self) -> int:
        """The version that serves requests which start now."""
        return self.serving.version

    async def load(self, update: WeightUpdate) -> str:
        """Serve ``update`` from now on; returns the checksum of what was loaded.

        Raises ValueError when the bytes received are not those published.
        """
        # Files and checksums in a thread: the replica must answer while it loads.
        state = await asyncio.to_thread(unpack, update)
        with tempfile.TemporaryDirectory(
            prefix="unisd-push-", dir=_scratch(update.size), ignore_cleanup_errors=True
        ) as folder:
            await self._load(state, update.version, Path(folder))
        return update.checksum

    async def _save_adapter(self, state: dict[str, torch.Tensor], folder: Path) -> None:
        lora = self.config.model.lora
        await asyncio.to_thread(save_adapter, state, lora, self.model_dir, folder)

    @abstractmethod
    async def _load(self, state: dict[str, torch.Tensor], version: int, folder: Path) -> None:
        """Load the tensors of ``state`` into the engine and set ``self.serving``. ``folder`` is
        empty, and is deleted afterwards."""

    def adopt(self, version: int) -> None:
        """Serve the weights of ``version``, which the engine received by a broadcast."""
        raise NotImplementedError(f"{type(self).__name__} takes no broadcast")

    def begin(self) -> ServedVersion:
        """The version for a request that starts now; the caller hands it back to
        :meth:`finish`."""
        return self.serving

    @abstractmethod
    async def finish(self, served: ServedVersion) -> None:
        """The request that ``served`` was given to has ended."""


class MergedTransport(Transport):
    """Replaces the weights in place."""

    in_place = True

    async def _load(self, state: dict[str, torch.Tensor], version: int, folder: Path) -> None:
        if self.config.model.finetune == "full":
            await asyncio.to_thread(save_full, self.model_dir, state, folder)
            await self.engine.load_weights(folder)
        else:
            await self._save_adapter(state, folder)
            await self.engine.load_merged(folder)
        self.adopt(version)

    def adopt(self, version: int) -> None:
        self.serving = ServedVersion(version)

    async def finish(self, served: ServedVersion) -> None:
        """Nothing is kept for a request."""


class AdapterTransport(Transport):
    """Loads an adapter for each version, and unloads an old one when its last request ends."""

    in_place = False

    def __init__(self, engine: Engine, config: Config, model_dir: Path) -> None:
        super().__init__(engine, config, model_dir)
        self._running: Counter[int] = Counter()
        self._loaded: dict[int, ServedVersion] = {}
        self._loads = 0

    async def _load(self, state: dict[str, torch.Tensor], version: int, folder: Path) -> None:
        await self._save_adapter(state, folder)
        self._loads += 1
        # The name is new even where a version is published again after a rollback.
        adapter = await self.engine.load_adapter(f"v{version}-{self._loads}", folder)
        self.serving = ServedVersion(version, self._loads, adapter)
        self._loaded[self._loads] = self.serving
        for served in list(self._loaded.values()):
            await self._unload_if_idle(served)

    def begin(self) -> ServedVersion:
        self._running[self.serving.serial] += 1
        return self.serving

    async def finish(self, served: ServedVersion) -> None:
        self._running[served.serial] -= 1
        await self._unload_if_idle(served)

    async def _unload_if_idle(self, served: ServedVersion) -> None:
        serial = served.serial
        if served is self.serving or self._running[serial] > 0:
            return
        if self._loaded.pop(serial, None) is not None:
            await self.engine.drop_adapter(served.adapter)


def _scratch(size: int) -> str | None:
    """Shared memory where ``size`` bytes fit into it twice (containers often limit it to 64 MB);
    None is the usual folder for temporary files."""
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() and shutil.disk_usage(shared).free > 2 * size else None


def choose_transport(config: Config) -> type[Transport]:
    """The transport of ``generator.transport``.

    ``auto`` is the adapter on GPU, and merged weights for full fine-tuning and on CPU, where LoRA
    kernels were measured to be three times slower.
    """
    choice = config.generator.transport
    if choice == "auto":
        whole = config.generator.gpus == 0 or config.model.finetune == "full"
        choice = "merged" if whole else "adapter"
    return AdapterTransport if choice == "adapter" else MergedTransport
