"""A stand-in for a generator replica, and what the tests of its pool send to it; in a file of its
own, so that it imports no torch."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from actors.generator.inprocess_engine import EngineDeadError
from actors.generator.types import ReplicaReport, Request, Sampling
from actors.weights.update import WeightUpdate
from unisd_core.common.completion import Completion
from unisd_core.config.run import Config


class ScriptedReplica:
    """A replica without an engine that dies, hangs or refuses when told to, once per file. As long
    as there is a file ``unstartable``, it cannot be started."""

    def __init__(self, config: Config, model_dir: str, index: int):
        self.index, self.version, self.folder = index, 0, model_dir
        self.running = 0

    async def start(self) -> ReplicaReport:
        if self._first_time("stillborn"):
            os._exit(1)
        if os.path.exists(os.path.join(self.folder, "unstartable")):
            raise RuntimeError("no room")
        return self.check()

    async def load(self, update: WeightUpdate) -> ReplicaReport:
        if self.index == 1 and self._first_time("deaf"):
            await asyncio.sleep(60)
        if self.index == 1 and self._first_time("slow"):
            await asyncio.sleep(0.5)
        await asyncio.gather(*update.buckets)  # references here
        self.version = update.version
        return ReplicaReport(self.index, self.version, update.checksum, 0, 0.0)

    async def adopt(self, update: WeightUpdate, sent: str) -> ReplicaReport:
        if self.index == 1 and self._first_time("garbled"):
            raise ValueError(f"version {update.version}: received other, sent {sent}")
        self.version = update.version
        return ReplicaReport(self.index, self.version, update.checksum, 0, 0.0)

    async def generate(self, requests: list[Request], together: bool) -> list[Completion]:
        for request in requests:
            if request.prompt_ids == [1] and self._first_time("die"):
                os._exit(1)
            if request.prompt_ids == [2] and self._first_time("hang"):
                await asyncio.sleep(60)
            if request.prompt_ids == [4] and self._first_time("stall"):
                self.running = 1
                await asyncio.sleep(60)
            if request.prompt_ids == [5] and self._first_time("freeze"):
                os.kill(os.getpid(), signal.SIGSTOP)
            if request.prompt_ids == [6]:
                await asyncio.sleep(1)
            if request.prompt_ids == [9] and self._first_time("give up"):
                raise EngineDeadError("the engine was given up")
            if request.prompt_ids == [3]:
                raise ValueError("prompt is empty")
        await asyncio.sleep(0.05)
        return [
            Completion(request.prompt_ids, [0.0], "stop", self.version, self.version, self.index)
            for request in requests
        ]

    def check(self) -> ReplicaReport:
        return ReplicaReport(self.index, self.version, "", 0, 0.0, running=self.running)

    async def stop(self) -> None:
        pass

    def _first_time(self, what: str) -> bool:
        return first_time(self.folder, what)


class ScriptedSender:
    """Sends nothing; dies when told to, once."""

    def __init__(self, config: Config, model_dir: str) -> None:
        self.folder = model_dir

    def send(self, update: WeightUpdate, replicas: list[object]) -> str:
        if first_time(self.folder, "broken"):
            os._exit(1)
        return f"tensors of {update.checksum}"


def first_time(folder: str, what: str) -> bool:
    """Whether there is such a file, which is then taken away."""
    path = os.path.join(folder, what)
    if not os.path.exists(path):
        return False
    os.unlink(path)
    return True


def requests(*prompts: int) -> list[Request]:
    """One request for each prompt of one token; what the replica does depends on the token."""
    sampling = Sampling(1.0, 1.0, 4, None, ())
    return [Request(f"{n}-{prompt}", [prompt], sampling) for n, prompt in enumerate(prompts)]


def update(version: int) -> WeightUpdate:
    """A version without weights."""
    return WeightUpdate(version, (), f"sum-{version}")


async def incidents(pool: Any, at_least: int = 0) -> list[str]:
    """What the watchdog was told, once there is that much: a replica is ready before its note is
    sent."""
    told: list[str] = []
    while True:
        told += [f"{one.who}: {one.what}" for one in await pool.lifecycle.watchdog.drain.remote()]
        if len(told) >= at_least:
            return told
        await asyncio.sleep(0.02)
