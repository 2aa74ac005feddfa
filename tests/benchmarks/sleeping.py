"""The loop around engines, scorers and learners that sleep instead of computing.

Gate, pool, weight store, stages, stream and Ray Train are the product's own, so that what a step
takes beyond the sleep is what they cost.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.train

from actors.fleet import SCORER_QUEUE, Fleet
from actors.generator.types import ReplicaReport, Request, Sampling
from actors.learner.job import LearnerJob
from actors.stream.agree import Agree
from actors.stream.dataset import fixed_stage
from actors.stream.generate import Generate
from actors.weights.buckets import fetch, pack, stored
from actors.weights.update import WeightUpdate
from unisd_core.common.completion import Completion
from unisd_core.common.schema import PROMPT, SCORED
from unisd_core.common.visits import visits_of
from unisd_core.config.run import Config

HIDDEN = 576
SAMPLING = Sampling(1.0, 1.0, 4096, None, ())


@dataclass(frozen=True)
class Workload:
    """How long everything takes, in seconds, and how much it sends."""

    replicas: int = 1
    most: int | None = None
    """Replicas the pool may grow to."""
    places: int = 8
    """Completions an engine is at together."""
    token_s: float = 0.03
    """Seconds an engine takes for a token of each of them."""
    tokens: int = 32
    """Length of a completion, or its median."""
    sigma: float = 0.0
    """Spread of the logarithm of lengths."""
    score_s: float = 0.02
    """For one chunk."""
    learn_s: float = 0.5
    late_learn_s: float | None = None
    """In the second half of the steps."""
    adapter_bytes: int = 10_000_000
    """Of the weights in each push."""
    chunk: int = 8
    batch: int = 8
    staleness: int = 2
    steps: int = 20
    scorers: int = 1

    def length(self, key: str) -> int:
        """Tokens of the completion of a request, which is known by its position alone."""
        rng = np.random.default_rng(int(key.split("/")[0]))
        drawn = self.tokens * np.exp(self.sigma * rng.standard_normal())
        return int(np.clip(round(drawn), 1, 40 * self.tokens))

    def config(self) -> Config:
        """Settings of the run; actors reserve next to nothing, because they only sleep."""
        share = {"cpus": 0.01}
        return Config.model_validate(
            {
                "rollout": {"chunk_size": self.chunk},
                "training": {
                    "batch_size": self.batch,
                    "max_staleness": self.staleness,
                    "max_steps": self.steps,
                    "max_restarts": 0,
                },
                "generator": {
                    "replicas": self.replicas,
                    "max_replicas": self.most,
                    "scale_s": 5.0,
                    **share,
                },
                "scorer": {"workers": self.scorers, **share},
                "learner": share,
            }
        )

    def save(self, folder: Path) -> None:
        """Where replicas and scorers look for it, in place of a model."""
        (folder / "workload.json").write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, folder: Path | str) -> Workload:
        return cls(**json.loads((Path(folder) / "workload.json").read_text()))


class SleepingReplica:
    """An engine with ``places``; a completion keeps one for as long as it has tokens."""

    def __init__(self, config: Config, model_dir: str, index: int) -> None:
        self.work, self.index = Workload.load(model_dir), index
        self.places = asyncio.Semaphore(self.work.places)
        self.alone = asyncio.Lock()
        self.version, self.checksum, self.done, self.running = 0, "", 0, 0

    async def start(self) -> ReplicaReport:
        return self.check()

    async def load(self, update: WeightUpdate) -> ReplicaReport:
        await asyncio.to_thread(fetch, update)
        self.version, self.checksum = update.version, update.checksum
        return self.check()

    async def generate(self, requests: list[Request], together: bool) -> list[Completion]:
        if not together:
            return await asyncio.gather(*map(self._one, requests))
        async with self.alone:
            return await asyncio.gather(*map(self._one, requests))

    async def _one(self, request: Request) -> Completion:
        self.running += 1
        async with self.places:
            version, began = self.version, time.time()
            length = self.work.length(request.key)
            await asyncio.sleep(length * self.work.token_s)
        self.running -= 1
        self.done += 1
        ids, logprobs = [7] * length, [-1.0] * length
        return Completion(
            ids, logprobs, "stop", version, self.version, self.index, began, time.time()
        )

    def check(self) -> ReplicaReport:
        return ReplicaReport(
            self.index, self.version, self.checksum, 0, 0.0, 0, self.done, self.running
        )

    async def stop(self) -> None: ...


class SleepingScore:
    """Hands on rows with as many numbers as the views of a small model leave in them."""

    def __init__(self, config: Config, model_dir: str, *_: Any) -> None:
        self.work, self.views = Workload.load(model_dir), config.views.num_auxiliary

    def __call__(self, table: pa.Table) -> pa.Table:
        if table.num_rows == 0:
            return SCORED.empty_table()
        time.sleep(self.work.score_s)
        lengths = list(map(len, table["completion_ids"]))
        columns = {name: table[name] for name in table.schema.names}
        hidden = [np.zeros(length * HIDDEN, np.float32) for length in lengths]
        views = [[np.zeros(length, np.float32)] * self.views for length in lengths]
        columns |= {
            "teacher_hidden": pa.array(hidden, SCORED.field("teacher_hidden").type),
            "auxiliary_logprobs": pa.array(views, SCORED.field("auxiliary_logprobs").type),
        }
        missing = {
            field.name: pa.nulls(table.num_rows, field.type)
            for field in SCORED
            if field.name not in columns
        }
        columns |= missing
        return pa.table([columns[name] for name in SCORED.names], schema=SCORED)


def sleeping_learner(settings: dict[str, Any]) -> None:
    """Reads batches as the learner does, sleeps, closes the accounts and publishes."""
    job: LearnerJob = settings["job"]
    work = Workload.load(job.model_dir)
    weights = {"a": np.zeros(work.adapter_bytes // 4, np.float32)}
    steps = job.gate.restore(None)
    shard = ray.train.get_dataset_shard("train")
    batches = shard.iter_batches(batch_size=work.batch, batch_format="pyarrow", prefetch_batches=0)
    with (job.run_path / "steps.jsonl").open("w") as log:
        for version, table in enumerate(batches, start=1):
            late = 2 * version > steps and work.late_learn_s is not None
            time.sleep(work.late_learn_s if late else work.learn_s)
            job.gate.consume(visits_of(table))
            publish(job, pack(version, weights))
            ages = (version - 1) - table["version_first"].to_numpy()
            line = {
                "unix": time.time(),
                "lengths": list(map(len, table["completion_ids"])),
                "staleness_max": int(ages.max()),
                "replicas": len(set(table["replica"].to_pylist())),
            }
            log.write(json.dumps(line) + "\n")
            if version == steps:
                break


def publish(job: LearnerJob, update: WeightUpdate) -> None:
    """Hand ``update`` to the store."""
    kept = stored(update, lambda bucket: job.store.keep(bucket)[0])
    job.store.publish(kept, None)


@dataclass(frozen=True)
class Outcome:
    """``step_s``: seconds between steps, the first few left out. ``push_s``: of each push."""

    step_s: list[float]
    push_s: list[float]
    lengths: list[int]
    replicas: list[int]
    """That sampled the rows of each step."""
    staleness_max: int
    ledger: dict[str, Any]
    incidents: list[str]


class MadePrompts:
    """Prompts that need no work."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.table = pa.Table.from_pylist(rows, schema=PROMPT)
        self.num_rows, self.uids = self.table.num_rows, self.table["uid"].to_pylist()

    def make(self, indices: Sequence[int]) -> None: ...

    def take(self, indices: Sequence[int]) -> pa.Table:
        return self.table.take(indices)


def run(work: Workload, folder: Path, warm_up: int = 5) -> Outcome:
    """One run of ``work``; Ray has to be connected."""
    folder.mkdir(parents=True)
    work.save(folder)
    rows = [
        {"uid": str(n), "row": n, "prompt_ids": [7] * 100, "view_ids": [[7] * 200] * 4}
        for n in range(1000)
    ]
    with Fleet(work.config(), folder, SleepingReplica) as fleet:
        fleet.wait_ready()
        rollouts = (
            fleet.admission(MadePrompts(rows), SAMPLING)
            .map_batches(Generate, **fleet.generate)
            .map_batches(SleepingScore, **fleet.score | fixed_stage(work.scorers, SCORER_QUEUE))
            .map_batches(Agree, **fleet.agree)
        )
        fleet.start_learners(rollouts, folder, sleeping_learner).train(threading.Event())
        pushes = fleet.report(work.steps).pushes
        ledger = fleet.gate.counters()
        incidents = fleet.watchdog.drain()
    lines = [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]
    times = [line["unix"] for line in lines]
    return Outcome(
        step_s=list(np.diff(times[warm_up - 1 :])),
        push_s=pushes.push_seconds[warm_up:],
        lengths=[length for line in lines for length in line["lengths"]],
        replicas=[line["replicas"] for line in lines],
        staleness_max=max(line["staleness_max"] for line in lines),
        ledger=ledger,
        incidents=[f"{one.who} {one.what}" for one in incidents],
    )
