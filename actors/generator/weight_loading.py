"""Weight loading: two transports that bring a new policy version into one engine.

``AdapterTransport`` loads the LoRA adapter under a name that is never used again. Rollouts in
flight finish under the version they began with. ``MergedTransport`` replaces the weights in place,
merged from the float32 base each time. Rollouts in flight continue under the new version and are
stamped with both.

Weights and version change in one step while nothing is sampled, and what new weights have sampled
is delivered once the engine has shown that it computes with them. A load that fails after it has
touched weights in place leaves an engine that samples no more; its replica is replaced.
"""

from __future__ import annotations

import asyncio
import shutil
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from actors.generator.engine import Engine
from actors.weights.buckets import unpack
from actors.weights.update import WeightUpdate
from unisd_core.common.scratch import SHARED_MEMORY, scratch_folder
from unisd_core.config.run import Config
from unisd_core.models.lora import save_adapter, save_full

PROBE_GAP = {"float32": 1e-3, "bfloat16": 0.3}
"""Largest mean difference, in nats, between an engine's log-probs of improbable tokens and the
learner's; about 1e-5 was measured in float32."""


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

    slots = 0
    """Adapters that the engine has to have room for."""

    def __init__(self, engine: Engine, config: Config, model_dir: Path) -> None:
        self.engine, self.config, self.model_dir = engine, config, model_dir
        self.serving = ServedVersion(0)

    @property
    def version(self) -> int:
        """The version that serves requests which start now."""
        return self.serving.version

    async def load(self, update: WeightUpdate) -> str:
        """Serve ``update`` from now on; returns the checksum of what was loaded.

        Raises ValueError when the bytes received are not those published, RuntimeError when the
        engine's log-probs of the probe are not those of the learner.
        """
        # Files and checksums in a thread: the replica must answer while it loads.
        state = await asyncio.to_thread(unpack, update)
        await self._wait_for_room()
        with scratch_folder(_place_for(update.size)) as folder:
            await self._load(state, update, folder)
        return update.checksum

    @abstractmethod
    async def _wait_for_room(self) -> None:
        """Return when the engine can take another version."""

    async def _save_adapter(self, state: dict[str, torch.Tensor], folder: Path) -> None:
        lora = self.config.model.lora
        await asyncio.to_thread(save_adapter, state, lora, self.model_dir, folder)

    @abstractmethod
    async def _load(
        self, state: dict[str, torch.Tensor], update: WeightUpdate, folder: Path
    ) -> None:
        """Load the tensors of ``state`` into the engine, set ``self.serving`` and check the probe
        of ``update``. ``folder`` is empty, and is deleted afterwards."""

    async def adopt(self, update: WeightUpdate, sent: str) -> None:
        """Serve ``update``, whose weights the engine received by a broadcast and is held for.

        Raises as :meth:`load`, and ValueError where what arrived has another ``TensorChecksum``
        than ``sent``.
        """
        raise NotImplementedError(f"{type(self).__name__} takes no broadcast")

    async def _check_probe(self, update: WeightUpdate, adapter: Any = None) -> None:
        probe = update.probe
        if probe is None:
            return
        logprobs = await self.engine.prompt_logprobs(list(probe.ids), adapter)
        gaps = [abs(ours - theirs) for ours, theirs in zip(logprobs, probe.logprobs, strict=True)]
        gap, limit = sum(gaps) / len(gaps), PROBE_GAP[self.config.model.dtype]
        if not gap <= limit:
            raise RuntimeError(
                f"the engine was given version {update.version} but computes log-probs {gap:.2g} "
                f"nats from it (limit {limit})"
            )

    def begin(self) -> ServedVersion:
        """The version for a request that starts now; the caller hands it back to
        :meth:`finish`."""
        return self.serving

    @abstractmethod
    async def last_version(self, served: ServedVersion) -> int:
        """The version of the last token of a completion that ``served`` was given to and that has
        just ended; returns when it may be delivered. Raises EngineDeadError when it never may."""

    @abstractmethod
    async def finish(self, served: ServedVersion) -> None:
        """The request that ``served`` was given to has ended."""


class MergedTransport(Transport):
    """Replaces the weights in place."""

    def __init__(self, engine: Engine, config: Config, model_dir: Path) -> None:
        super().__init__(engine, config, model_dir)
        self._proven = asyncio.Event()
        self._proven.set()

    async def _wait_for_room(self) -> None:
        """New weights take the place of the old ones."""

    async def _load(
        self, state: dict[str, torch.Tensor], update: WeightUpdate, folder: Path
    ) -> None:
        if self.config.model.finetune == "full":
            await asyncio.to_thread(save_full, self.model_dir, state, folder)
            load = self.engine.load_weights
        else:
            await self._save_adapter(state, folder)
            load = self.engine.load_merged
        async with self.engine.changing():
            await load(folder)
            self._stamp(update.version)
        await self._prove(update)

    async def adopt(self, update: WeightUpdate, sent: str) -> None:
        with self.engine.whole():
            for arrived in self.engine.arrived() or ["nothing"]:
                if arrived != sent:
                    raise ValueError(
                        f"version {update.version}: received {arrived[:12]}, sent {sent[:12]}"
                    )
            self._stamp(update.version)
        await self.engine.release()
        await self._prove(update)

    def _stamp(self, version: int) -> None:
        self.serving = ServedVersion(version)
        self._proven.clear()

    async def _prove(self, update: WeightUpdate) -> None:
        try:
            with self.engine.whole():
                await self._check_probe(update)
        finally:
            self._proven.set()  # those that wait are told, whatever it is

    async def last_version(self, served: ServedVersion) -> int:
        await self._proven.wait()
        self.engine.raise_if_given_up()
        return self.version

    async def finish(self, served: ServedVersion) -> None:
        """Nothing is kept for a request."""


class AdapterTransport(Transport):
    """Loads an adapter for each version, and unloads an old one when its last request ends.

    The engine evicts an adapter for which it has no room, and dies where a request still needs it.
    So a load waits for a slot: versions that are not served any more take no further requests,
    and the first of them to end its last one gives its slot back.
    """

    def __init__(self, engine: Engine, config: Config, model_dir: Path) -> None:
        super().__init__(engine, config, model_dir)
        # Rollouts are at most this far apart; validation may stay behind them.
        self.slots = config.training.max_staleness + 2
        self._free = asyncio.Semaphore(self.slots)
        self._running: Counter[int] = Counter()
        self._loaded: dict[int, ServedVersion] = {}
        self._loads = 0

    async def _wait_for_room(self) -> None:
        await self._free.acquire()

    async def _load(
        self, state: dict[str, torch.Tensor], update: WeightUpdate, folder: Path
    ) -> None:
        await self._save_adapter(state, folder)
        self._loads += 1
        # The name is new even where a version is published again after a rollback.
        adapter = await self.engine.load_adapter(f"v{update.version}-{self._loads}", folder)
        await self._check_probe(update, adapter)
        self.serving = ServedVersion(update.version, self._loads, adapter)
        self._loaded[self._loads] = self.serving
        for served in list(self._loaded.values()):
            await self._unload_if_idle(served)

    def begin(self) -> ServedVersion:
        self._running[self.serving.serial] += 1
        return self.serving

    async def last_version(self, served: ServedVersion) -> int:
        return served.version

    async def finish(self, served: ServedVersion) -> None:
        self._running[served.serial] -= 1
        await self._unload_if_idle(served)

    async def _unload_if_idle(self, served: ServedVersion) -> None:
        serial = served.serial
        if served is self.serving or self._running[serial] > 0:
            return
        if self._loaded.pop(serial, None) is not None:
            await self.engine.drop_adapter(served.adapter)
            self._free.release()


def _place_for(size: int) -> Path | None:
    """Shared memory where ``size`` bytes fit into it twice (containers often limit it to 64 MB);
    None is the usual folder for temporary files."""
    if SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free > 2 * size:
        return SHARED_MEMORY
    return None


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
