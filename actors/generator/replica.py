"""Generator replica: the actor that holds one engine.

It samples what it is asked to and stamps every completion with the policy version that sampled it.
It knows nothing of batches, staleness or other replicas.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from actors.generator.engine import Engine
from actors.generator.types import ReplicaReport, Request
from actors.runtime.metrics import record
from actors.supervision.child_processes import reap_children
from actors.weights.update import Probe, WeightUpdate
from unisd_core.common.completion import Completion
from unisd_core.common.fast_imports import importing
from unisd_core.common.process import tree_memory
from unisd_core.config.run import Config

PROBE_GAP = {"float32": 1e-3, "bfloat16": 0.3}
"""Largest mean difference, in nats, between an engine's log-probs of improbable tokens and the
learner's; about 1e-5 was measured in float32."""


class GeneratorReplica:
    """Async actor; ready once :meth:`start` has returned."""

    def __init__(self, config: Config, model_dir: str, index: int) -> None:
        self.config, self.index = config, index
        length = config.model.max_view_length + config.rollout.max_completion_length
        self.engine = Engine(Path(model_dir), config.model.dtype, length, config.generator)
        with importing():  # here, as the pool imports this file too, and needs no torch
            from actors.generator.weight_loading import choose_transport

        self.transport = choose_transport(config)(self.engine, config, Path(model_dir))
        self.loading = asyncio.Lock()
        self.alone = asyncio.Lock()
        self.checksum = ""
        self._reaper: Any = None
        self.tokens = 0
        self.running = 0
        self.busy_since = 0.0
        self.busy_seconds = 0.0

    async def start(self) -> ReplicaReport:
        """Load the untrained model."""
        adapters = 0 if self.transport.in_place else self.config.training.max_staleness + 2
        await self.engine.start(self.config.model.lora.r, adapters)
        self._reaper = reap_children()
        return self.report()

    async def load(self, update: WeightUpdate) -> ReplicaReport:
        """Serve a new policy version and report it back.

        Raises RuntimeError when the engine's log-probs of the probe are not those of the learner.
        """
        async with self.loading:
            self.checksum = await self.transport.load(update)
            if update.probe is not None:
                await self._check_probe(update.version, update.probe)
        return self.report()

    async def transfer(self, step: str, info: dict[str, Any]) -> None:
        """One step of a broadcast; :meth:`adopt` follows the last."""
        if step == "start":
            await self.loading.acquire()
        await self.engine.transfer(step, info)
        if step == "finish":
            self.loading.release()

    async def adopt(self, update: WeightUpdate) -> ReplicaReport:
        """Serve the weights that were broadcast; ``update`` describes them and has no buckets.

        Raises as :meth:`load`.
        """
        async with self.loading:
            self.transport.adopt(update.version)
            self.checksum = update.checksum
            if update.probe is not None:
                await self._check_probe(update.version, update.probe)
        return self.report()

    async def _check_probe(self, version: int, probe: Probe) -> None:
        adapter = self.transport.serving.adapter
        logprobs = await self.engine.prompt_logprobs(list(probe.ids), adapter)
        gaps = [abs(ours - theirs) for ours, theirs in zip(logprobs, probe.logprobs, strict=True)]
        gap, limit = sum(gaps) / len(gaps), PROBE_GAP[self.config.model.dtype]
        if not gap <= limit:
            raise RuntimeError(
                f"the engine was given version {version} but computes log-probs {gap:.2g} nats "
                f"from it (limit {limit})"
            )

    async def generate(self, requests: list[Request], together: bool = False) -> list[Completion]:
        """Sample every request; completions are in the order of the requests.

        ``together`` starts all of them in one engine step and shares the engine with no other
        call, so that completions do not depend on timing (staleness 0).
        """
        if not together:
            return await asyncio.gather(*(self._one(request) for request in requests))
        async with self.alone:
            await self.engine.hold()
            tasks = [asyncio.create_task(self._one(request)) for request in requests]
            await self.engine.release_when_waiting(tasks)
            return await asyncio.gather(*tasks)

    async def _one(self, request: Request) -> Completion:
        self._enter()
        served = self.transport.begin()
        began = time.time()
        try:
            done = await self.engine.sample(
                request.key, request.prompt_ids, request.sampling, served.adapter
            )
        finally:
            await self.transport.finish(served)
            self._leave()
        self.tokens += len(done.token_ids)
        record("sampled_tokens", len(done.token_ids))
        return Completion(
            token_ids=done.token_ids,
            logprobs=done.logprobs,
            finish_reason=done.finish_reason,
            version_first=served.version,
            version_last=self.transport.version if self.transport.in_place else served.version,
            replica=self.index,
            began=began,
            ended=time.time(),
        )

    def _enter(self) -> None:
        if self.running == 0:
            self.busy_since = time.perf_counter()
        self.running += 1

    def _leave(self) -> None:
        self.running -= 1
        if self.running == 0:
            self.busy_seconds += time.perf_counter() - self.busy_since

    def report(self) -> ReplicaReport:
        """Version, checksum and work of this replica."""
        return ReplicaReport(
            replica=self.index,
            version=self.transport.version,
            checksum=self.checksum,
            tokens=self.tokens,
            busy_seconds=self.busy_seconds,
            peak_memory=tree_memory(),
            progress=self.engine.steps,
            # Requests wait on purpose while weights are loaded.
            running=0 if self.loading.locked() else self.running,
        )

    async def check(self) -> ReplicaReport:
        """Raise if the engine has died, else report."""
        await self.engine.check()
        return self.report()

    async def stop(self) -> None:
        """End the engine's processes."""
        self.engine.stop()
