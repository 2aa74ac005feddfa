"""Transports that load a new policy version into one engine: two behind one call.

``AdapterTransport`` loads the LoRA adapter under a name that is never used
again; rollouts in flight finish under the version they began with.
``MergedTransport`` replaces the weights in place, merged from the float32 base each time;
rollouts in flight continue under the new version and are stamped with both.
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
    """What serves a request: the version, and the engine's handle where that is an adapter."""

    version: int
    serial: int = 0
    adapter: Any = None


class Transport(ABC):
    """Loads updates into one engine and knows which version a request is served by."""

    in_place: bool
    """Whether a request that is running changes version with a load."""

    def __init__(self, engine: Engine, config: Config, model_dir: Path) -> None:
        self.engine, self.config, self.model_dir = engine, config, model_dir
        self.serving = ServedVersion(0)

    @property
    def version(self) -> int:
        """The version that serves a request which starts now."""
        return self.serving.version

    async def load(self, update: WeightUpdate) -> str:
        """Serve ``update`` from now on; returns the checksum of what was loaded.

        Raises ValueError when the bytes received are not those published.
        """
        # Files and sums in a thread: the replica must answer while it loads.
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
        """Give the engine what is in ``state`` and set ``self.serving``."""

    def begin(self) -> ServedVersion:
        """A request starts; :meth:`finish` takes the lease back."""
        return self.serving

    @abstractmethod
    async def finish(self, lease: ServedVersion) -> None:
        """The request that began with ``lease`` has ended."""


class MergedTransport(Transport):
    """Full weights in place."""

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
        """The engine has the weights of ``version`` in place."""
        self.serving = ServedVersion(version)

    async def finish(self, lease: ServedVersion) -> None:
        """Nothing is kept per request."""


class AdapterTransport(Transport):
    """One immutable adapter per load; an old one is unloaded when its last request ends."""

    in_place = False

    def __init__(self, engine: Engine, config: Config, model_dir: Path) -> None:
        super().__init__(engine, config, model_dir)
        self._running: Counter[int] = Counter()
        self._loaded: dict[int, ServedVersion] = {}
        self._loads = 0

    async def _load(self, state: dict[str, torch.Tensor], version: int, folder: Path) -> None:
        await self._save_adapter(state, folder)
        self._loads += 1
        # A version can be published again after a rollback; its name is new all the same.
        adapter = await self.engine.load_adapter(f"v{version}-{self._loads}", folder)
        self.serving = ServedVersion(version, self._loads, adapter)
        self._loaded[self._loads] = self.serving
        for lease in list(self._loaded.values()):
            await self._unload_if_idle(lease)

    def begin(self) -> ServedVersion:
        self._running[self.serving.serial] += 1
        return self.serving

    async def finish(self, lease: ServedVersion) -> None:
        self._running[lease.serial] -= 1
        await self._unload_if_idle(lease)

    async def _unload_if_idle(self, lease: ServedVersion) -> None:
        serial = lease.serial
        if lease is self.serving or self._running[serial] > 0:
            return
        if self._loaded.pop(serial, None) is not None:
            await self.engine.drop_adapter(lease.adapter)


def _scratch(size: int) -> str | None:
    """Shared memory where it holds ``size`` bytes twice over (containers often give it 64 MB)."""
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() and shutil.disk_usage(shared).free > 2 * size else None


def choose_transport(config: Config) -> type[Transport]:
    """``auto``: merged on CPU, where LoRA kernels were measured three times slower, and for full
    fine-tuning; adapter on GPU."""
    choice = config.generator.transport
    if choice == "auto":
        whole = config.generator.gpus == 0 or config.model.finetune == "full"
        choice = "merged" if whole else "adapter"
    return AdapterTransport if choice == "adapter" else MergedTransport
