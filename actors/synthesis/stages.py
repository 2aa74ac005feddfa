"""The stages of data synthesis: read, sample, score, write. Each passes whole blocks of prompts.

None keeps state that cannot be made again: a block that is lost with its stage is done again by the
stage's successor, and a file is written anew under the same name.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
from ray.exceptions import RayError

from actors.generator.pool import PoolClient
from actors.generator.types import Request, Sampling
from actors.runtime.calls import remote_reason
from actors.stream.score import Score
from actors.supervision.incidents import RunFailure
from actors.supervision.watchdog import WatchdogClient
from unisd_core.common.completion import Completion
from unisd_core.common.errors import UserError
from unisd_core.common.fast_imports import importing
from unisd_core.common.schema import PROMPT
from unisd_core.common.visits import Visit
from unisd_core.config.run import Config
from unisd_core.synthesis.shard import FAILED, LEFT_OUT
from unisd_core.synthesis.sources import PromptSource
from unisd_core.views.rollouts import trajectories
from unisd_core.views.writing import draw_seed

FILL = 2
"""Requests on their way for each place of an engine: a group holds its places until its longest
completion ends, so that others must wait to take those that are free."""
MAX_FAILURES = 3
"""Groups of requests that may fail in a row before the synthesis ends."""


def group_size(config: Config) -> int:
    """Requests that are sent to a replica together."""
    return min(config.rollout.chunk_size, config.generator.max_num_seqs)


def groups_in_flight(config: Config) -> int:
    """Groups of requests that keep all replicas full."""
    generator = config.generator
    return max(2, -(-FILL * generator.max_num_seqs // group_size(config))) * generator.replicas


def blocks_in_flight(config: Config) -> int:
    """Blocks under way in the sampling stage: one more than holds these groups, so that the last
    completions of one do not keep the replicas waiting."""
    requests = config.synthesis.shard_prompts * config.synthesis.samples
    return -(-groups_in_flight(config) * group_size(config) // requests) + 1


@contextmanager
def reporting_user_errors(watchdog: WatchdogClient) -> Iterator[None]:
    """Reports a UserError to the watchdog, for Ray Data does not pass its class on."""
    try:
        yield
    except UserError as error:
        watchdog.fail(RunFailure(str(error)))
        raise


class ReadPrompts:
    """Renders the prompts of a block and, where agreement is scored, of their auxiliary views."""

    def __init__(
        self,
        config: Config,
        model_dir: str,
        source: PromptSource,
        views: int,
        watchdog: WatchdogClient,
    ) -> None:
        with importing():
            from unisd_core.synthesis.prompts import PromptReader

        self.watchdog = watchdog
        self.reader = PromptReader(config, model_dir, source, views)

    def __call__(self, blocks: pa.Table) -> pa.Table:
        (block,) = blocks.to_pylist()
        with reporting_user_errors(self.watchdog):
            return pa.Table.from_pylist(self.reader.read(**block), schema=PROMPT)


@dataclass(frozen=True)
class Draw:
    """One completion of a prompt."""

    index: int
    """Of its prompt in the block."""
    number: int
    source: str
    request: Request


class Sample:
    """Asks the pool for every completion of a block; groups of several blocks are on their way at a
    time, the older block's first."""

    def __init__(
        self,
        config: Config,
        pool: PoolClient,
        sampling: Sampling,
        version: int,
        watchdog: WatchdogClient,
    ) -> None:
        self.config, self.pool, self.watchdog = config, pool, watchdog
        self.sampling, self.version = sampling, version
        self.room = asyncio.Semaphore(groups_in_flight(config))
        self.failures = 0
        # An engine refuses a key it still works on, as after this stage was restarted.
        self.name = uuid.uuid4().hex

    async def __call__(self, prompts: pa.Table) -> AsyncIterator[pa.Table]:
        rows = prompts.to_pylist()
        samples = self.config.synthesis.samples
        draws = [
            self._draw(row, index, number)
            for index, row in enumerate(rows)
            if row["left_out"] is None
            for number in range(samples)
        ]
        size = group_size(self.config)
        groups = [draws[start : start + size] for start in range(0, len(draws), size)]
        sampled = await asyncio.gather(*map(self._sample, groups))
        answers = [answer for group in sampled for answer in group]
        # They travel on, so that the block accounts for every prompt.
        absent = [index for index, row in enumerate(rows) if row["left_out"] is not None]
        answers += [_nothing(f"{LEFT_OUT}{rows[index]['left_out']}") for index in absent]
        indices = [draw.index for draw in draws] + absent
        numbers = [draw.number for draw in draws] + [0] * len(absent)
        yield trajectories(
            prompts.take(indices),
            answers,
            visits=[
                Visit(rows[index]["row"] * samples + number, 0)
                for index, number in zip(indices, numbers, strict=True)
            ],
            source=[draw.source for draw in draws] + [""] * len(absent),
        )

    def _draw(self, row: dict[str, Any], index: int, number: int) -> Draw:
        """Depends on the seed, the uid and the number alone."""
        seed = self.config.seed
        share = self.config.rollout.teacher_share
        taught = random.Random(f"{seed}/{row['uid']}/{number}").random() < share
        sampling = replace(self.sampling, seed=draw_seed(seed, row["uid"], number))
        ids = row["view_ids"][0] if taught else row["prompt_ids"]
        key = f"{self.name}/{row['row']}/{number}"
        source = "teacher" if taught else "student"
        return Draw(index, number, source, Request(key, ids, sampling))

    async def _sample(self, draws: list[Draw]) -> list[Completion]:
        async with self.room:
            try:
                requests = [draw.request for draw in draws]
                sampled = await self.pool.generate.remote(requests, self.version)
                self.failures = 0
                return list(sampled)
            except (RayError, TimeoutError, RuntimeError) as error:
                self.failures += 1
                if self.failures == MAX_FAILURES:
                    reason = (
                        f"{MAX_FAILURES} groups of prompts in a row could not be sampled "
                        f"({remote_reason(error)}); what is finished is kept, the same command "
                        "goes on"
                    )
                    await self.watchdog.fail.remote(RunFailure(reason))
                    raise UserError(reason) from None
                return [_nothing(f"{FAILED}{remote_reason(error)}") for _ in draws]


def _nothing(reason: str) -> Completion:
    return Completion([], [], reason, 0, 0, -1)


class ScoreBlock(Score):
    """The scorer of the main job, which takes a block in chunks: its time limit counts for one."""

    def __call__(self, table: pa.Table) -> pa.Table:
        """``TRAJECTORY`` rows in, ``SCORED`` rows out."""
        chunk = self.scorer.config.rollout.chunk_size
        parts = [
            super(ScoreBlock, self).__call__(table.slice(start, chunk))
            for start in range(0, max(1, table.num_rows), chunk)
        ]
        return pa.concat_tables(parts)


class WriteShard:
    """Filters, weights and writes a block; emits the file's name and account."""

    def __init__(
        self,
        config: Config,
        model_dir: str,
        source: PromptSource,
        folder: str,
        weights: str,
        watchdog: WatchdogClient,
    ) -> None:
        with importing():
            from unisd_core.synthesis.shard_maker import ShardMaker

        self.watchdog = watchdog
        with reporting_user_errors(watchdog):
            self.maker = ShardMaker(config, model_dir, source, folder, weights)

    def __call__(self, table: pa.Table) -> pa.Table:
        if table.num_rows == 0:
            return pa.table(
                {"shard": pa.array([], pa.string()), "account": pa.array([], pa.string())}
            )
        with reporting_user_errors(self.watchdog):
            name, account = self.maker.write(table)
        return pa.table({"shard": [name], "account": [account.model_dump_json()]})
