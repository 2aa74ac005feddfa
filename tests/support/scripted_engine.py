"""A stand-in for vLLM below the engine's own code: every token it samples is the version of the
weights that sampled it, so that stamps can be compared with what happened."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from actors.generator.engine import Engine
from actors.generator.inprocess_engine import EngineDeadError
from actors.generator.types import EngineOutput, Request, Sampling
from unisd_core.config.stages import GeneratorConfig

MIXED = -1
"""Sampled by weights that were half replaced."""
STEP_S = 0.001


class ScriptedCore:
    """In place of vLLM's engine. It is given the weights of version ``incoming``; a change of its
    weights takes ``change_s`` seconds and fails half way where it ``breaks``."""

    def __init__(self) -> None:
        self.weights = self.incoming = 0
        self.paused = False
        self.breaks = False
        self.change_s = 5 * STEP_S
        self.checksum = ""

    async def pause_generation(self, **_: Any) -> None:
        self.paused = True

    async def resume_generation(self) -> None:
        self.paused = False
        await asyncio.sleep(5 * STEP_S)

    async def collective_rpc(self, method: str, kwargs: dict[str, Any] | None = None) -> list[Any]:
        if method in ("reload_weights", "merge_adapter", "receive_checked"):
            self.weights = MIXED
            await asyncio.sleep(self.change_s)
            if self.breaks:
                raise RuntimeError("no memory")
            self.weights = self.incoming
        return [self.checksum]

    async def start_weight_update(self) -> None:
        pass

    async def finish_weight_update(self) -> None:
        pass

    async def check_health(self) -> None:
        pass

    async def step(self) -> None:
        """Return when a token is sampled."""
        await asyncio.sleep(STEP_S)
        while self.paused:
            await asyncio.sleep(STEP_S)


class ScriptedEngine(Engine):
    """An engine that samples as many tokens as a request allows, with room for ``slots`` adapters.
    As vLLM, it evicts the oldest adapter for a new one, and dies of a request that needs it."""

    def __init__(self, *_: Any, slots: int = 0) -> None:
        super().__init__(Path(), "float32", 64, GeneratorConfig())
        self.core = self._engine = ScriptedCore()
        self.waiting = 0
        self.core.get_num_unfinished_requests = lambda: self.waiting  # type: ignore[attr-defined]
        self.slots, self.adapters, self.most = slots, dict[int, int](), 0
        self.probe: list[float] = []

    async def sample(
        self, request_id: str, prompt_ids: list[int], sampling: Sampling, adapter: Any = None
    ) -> EngineOutput:
        self.raise_if_given_up()
        tokens = []
        self.waiting += 1
        for _ in range(sampling.max_tokens):
            await self.core.step()
            if adapter is not None and adapter not in self.adapters:
                raise EngineDeadError("no such file: adapter_config.json")
            tokens.append(self.core.weights if adapter is None else self.adapters[adapter])
        self.waiting -= 1
        return EngineOutput(tokens, [0.0] * len(tokens), "length")

    async def prompt_logprobs(self, ids: list[int], adapter: Any = None) -> list[float]:
        for _ in range(20):
            await self.core.step()
        return self.probe

    async def load_adapter(self, name: str, folder: Path) -> int:
        assert (folder / "adapter_config.json").exists()
        await asyncio.sleep(STEP_S)
        if len(self.adapters) == self.slots:
            del self.adapters[min(self.adapters)]
        version, _, number = name.removeprefix("v").partition("-")
        self.adapters[int(number)] = int(version)
        self.most = max(self.most, len(self.adapters))
        return int(number)

    async def drop_adapter(self, adapter: int) -> None:
        await asyncio.sleep(30 * STEP_S)
        del self.adapters[adapter]


def request(key: str, tokens: int) -> Request:
    """One that is answered after so many engine steps."""
    return Request(key, [1], Sampling(1.0, 1.0, tokens, None, ()))
