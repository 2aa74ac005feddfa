"""How a new policy version gets into an engine: two transports behind one call.

``AdapterTransport`` loads the LoRA adapter under a name that is never used
again; rollouts in flight finish under the version they began with.
``MergedTransport`` replaces the weights in place, merged from the float32 base each time;
rollouts in flight continue under the new version and are stamped with both.
"""

from __future__ import annotations

import shutil
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from pathlib import Path

import torch

from actors.engine import Engine
from actors.messages import WeightUpdate
from unisd_core.adapters import adapter_checksum, save_adapter, save_merged
from unisd_core.config import Config


class Transport(ABC):
    """Loads updates into one engine and knows which version a request is served by."""

    in_place: bool
    """Whether a request that is running changes version with a load."""

    def __init__(self, engine: Engine, config: Config, model_dir: Path) -> None:
        self.engine, self.config, self.model_dir = engine, config, model_dir
        self.version = 0

    async def load(self, update: WeightUpdate) -> str:
        """Serve ``update`` from now on; returns the checksum of what was loaded.

        Raises ValueError when the bytes received are not those published.
        """
        state = {name: torch.from_numpy(array.copy()) for name, array in update.adapter.items()}
        checksum = adapter_checksum(state)
        if checksum != update.checksum:
            raise ValueError(
                f"version {update.version}: received {checksum[:12]}, "
                f"published {update.checksum[:12]}"
            )
        folder = Path(tempfile.mkdtemp(prefix="unisd-push-", dir=_memory_folder()))
        try:
            await self._load(state, update.version, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self.version = update.version
        return checksum

    @abstractmethod
    async def _load(self, state: dict[str, torch.Tensor], version: int, folder: Path) -> None: ...

    def begin(self) -> int:
        """A request starts; returns the version that serves it."""
        return self.version

    async def finish(self, version: int) -> None:
        """The request that began under ``version`` has ended."""
        del version  # in place, nothing is kept per version

    @property
    def adapters(self) -> int:
        """Adapters loaded in the engine."""
        return 0


class MergedTransport(Transport):
    """Full weights in place."""

    in_place = True

    async def _load(self, state: dict[str, torch.Tensor], version: int, folder: Path) -> None:
        save_merged(self.model_dir, state, self.config.model.lora, folder)
        await self.engine.load_weights(folder)


class AdapterTransport(Transport):
    """One immutable adapter per version; the old ones are unloaded when their last request ends."""

    in_place = False

    def __init__(self, engine: Engine, config: Config, model_dir: Path) -> None:
        super().__init__(engine, config, model_dir)
        self._ids: dict[int, int] = {}
        self._running: Counter[int] = Counter()
        self._loads = 0

    async def _load(self, state: dict[str, torch.Tensor], version: int, folder: Path) -> None:
        save_adapter(state, self.config.model.lora, self.model_dir, folder)
        self._loads += 1
        superseded = self._ids.pop(version, None)
        if superseded is not None:
            await self.engine.drop_adapter(superseded)
        self._ids[version] = await self.engine.use_adapter(f"v{version}-{self._loads}", folder)
        for old in list(self._ids):
            await self._unload_if_idle(old, newest=version)

    def begin(self) -> int:
        self._running[self.version] += 1
        return self.version

    async def finish(self, version: int) -> None:
        self._running[version] -= 1
        await self._unload_if_idle(version, newest=self.version)

    async def _unload_if_idle(self, version: int, newest: int) -> None:
        if version != newest and version in self._ids and self._running[version] <= 0:
            await self.engine.drop_adapter(self._ids.pop(version))

    @property
    def adapters(self) -> int:
        return len(self._ids)


def choose_transport(config: Config) -> type[Transport]:
    """``auto``: merged on CPU, where LoRA kernels were measured three times slower; adapter on
    GPU."""
    choice = config.generator.transport
    if choice == "auto":
        choice = "merged" if config.generator.gpus == 0 else "adapter"
    return {"merged": MergedTransport, "adapter": AdapterTransport}[choice]


def _memory_folder() -> str | None:
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() else None
