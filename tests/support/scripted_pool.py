"""A stand-in for the generator pool; in a file of its own, so that it imports no torch."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

from actors.generator.types import Request
from unisd_core.common.completion import Completion

FILL_S = 10.0
"""How long the first answer waits for more requests."""


class ScriptedPool:
    """Answers with letters that depend on the seed alone, and remembers how many requests it had at
    most at a time: the first answer waits until there are ``full``. With a ``limit`` it fails after
    so many, once ``folder`` holds a shard."""

    def __init__(self, stop: int, folder: str, full: int, limit: int | None = None) -> None:
        self.stop, self.folder, self.full, self.limit = stop, Path(folder), full, limit
        self.answered = self.waiting = self.most = 0

    async def start(self) -> None:
        pass

    async def generate(self, requests: list[Request], version: int) -> list[Completion]:
        self.waiting += len(requests)
        self.most = max(self.most, self.waiting)
        deadline = time.monotonic() + FILL_S
        while self.most < self.full and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
        self.waiting -= len(requests)
        if self.limit is not None and self.answered >= self.limit:
            while not list(self.folder.glob("data/shard-*.parquet")):
                await asyncio.sleep(0.02)
            raise RuntimeError("no generator replica is left")
        self.answered += len(requests)
        return [self._answer(request, version) for request in requests]

    def _answer(self, request: Request, version: int) -> Completion:
        rng = random.Random(request.sampling.seed)
        ids = [rng.randrange(40, 60) for _ in range(rng.randrange(3, 9))] + [self.stop]
        return Completion(ids, [-0.5] * len(ids), "stop", version, version, 0)

    async def account(self) -> tuple[int, int]:
        """Requests answered, and the most at a time."""
        return self.answered, self.most
