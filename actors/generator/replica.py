"""Generator replica: the actor that holds one engine.

It samples what it is asked to and stamps every completion with the policy version that sampled it.
It knows nothing of batches, staleness or other replicas.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from actors.generator.engine import Engine
from actors.generator.types import ReplicaReport, Request
from actors.runtime.metrics import record
from actors.supervision.child_processes import clean_up_after
from actors.weights.update import WeightUpdate
from unisd_core.common.completion import Completion
from unisd_core.common.fast_imports import importing
from unisd_core.common.process import tree_memory
from unisd_core.common.scratch import SHARED_MEMORY, keep_scratch_folder
from unisd_core.config.run import Config


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
        self._cleaner: Any = None
        self.tokens = 0
        self.running = 0
        self.busy_since = 0.0
        self.busy_seconds = 0.0

    async def start(self) -> ReplicaReport:
        """Load the untrained model."""
        place = Path(tempfile.gettempdir())
        _own_temporary_files()
        await self.engine.start(self.config.model.lora.r, self.transport.slots)
        self._cleaner = clean_up_after(place, SHARED_MEMORY)
        return self.report()

    async def load(self, update: WeightUpdate) -> ReplicaReport:
        """Serve a new policy version and report it back.

        Raises ValueError when the bytes received are not those published, RuntimeError when the
        engine's log-probs of the probe are not those of the learner.
        """
        async with self.loading:
            self.checksum = await self.transport.load(update)
        return self.report()

    async def transfer(self, step: str, info: dict[str, Any]) -> None:
        """One step of a broadcast. From ``start`` on nothing is sampled and nothing else is loaded,
        until :meth:`adopt`."""
        if step == "start":
            await self.loading.acquire()
        await self.engine.transfer(step, info)

    async def adopt(self, update: WeightUpdate, sent: str) -> ReplicaReport:
        """Serve the weights that were broadcast; ``update`` describes them and has no buckets,
        ``sent`` is their ``TensorChecksum``.

        Raises as :meth:`load`.
        """
        await self.transport.adopt(update, sent)
        self.checksum = update.checksum
        self.loading.release()
        return self.report()

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
            last = await self.transport.last_version(served)
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
            version_last=last,
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
            running=0 if self.engine.busy else self.running,
        )

    async def check(self) -> ReplicaReport:
        """Raise if the engine has died, else report."""
        await self.engine.check()
        return self.report()

    async def stop(self) -> None:
        """End the engine's processes."""
        self.engine.stop()


def _own_temporary_files() -> None:
    """Have this process and its engine put their temporary files into a folder that is removed
    after them: vLLM removes neither its sockets nor the files its workers meet in."""
    # Compiled code is for those that come later.
    compiled = os.path.join(tempfile.gettempdir(), f"torchinductor_{os.getuid()}")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", compiled)
    os.environ["TMPDIR"] = tempfile.tempdir = str(keep_scratch_folder())
