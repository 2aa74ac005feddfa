"""Hidden states from the scorer to the learner: python -m tests.benchmarks.data_path

Shapes of models of 7 and 70 B parameters, rows of 1,024 tokens, the allocator of a run. Everything
around the models is the product's own, and the object store is Ray's; the models compute nothing:
their states are there. Prints for each stage the seconds for one batch, those of the processor, the
states that it passed on in a second, and the memory that it took beside what was there, in sizes of
those states. Batches of more than ``LIMIT`` bytes are left out.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import torch
from torch import Tensor, nn

from actors.learner.step_record import NOT_KEPT
from actors.runtime.placement import computing_env
from tests.benchmarks.objective import resident
from tests.benchmarks.stages import settings, trajectories
from tests.support.small_run import ROOT
from tests.support.tiny import make_tiny_model
from unisd_core.common.columns import rows_where
from unisd_core.config.run import Config
from unisd_core.objective.terms import MicroBatch, ObjectiveOutput
from unisd_core.reporting.run_dir import RunDir
from unisd_core.reporting.spans import stage_spans
from unisd_core.scoring import scorer as scoring
from unisd_core.scoring.agreement_columns import with_agreement_weights
from unisd_core.scoring.batch_filter import BatchFilter
from unisd_core.scoring.rollout_filter import RolloutFilter, without
from unisd_core.training import student as learning
from unisd_core.training.batch_stats import batch_totals
from unisd_core.training.update import update_without_bad_rows

SHAPES = {"7B": 3_584, "70B": 8_192}
ROWS = (16, 64, 256)
TOKENS, CHUNK, REPEATS = 1024, 8, 3
VIEWS = (300, 400, 400, 400, 300)
"""Prompt tokens of the teacher's view, three auxiliary ones and the negative one."""
LIMIT = 2.5 * 2**30
"""Bytes of states in one batch; a pass holds two and a half batches at most."""


class Stages:
    """Seconds and extra memory of each stage of one pass."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.busy: dict[str, float] = {}
        self.extra: dict[str, float] = {}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add a piece of work to ``name``."""
        start, peak, done = resident(), [0.0], threading.Event()

        def watch() -> None:
            while not done.wait(0.002):
                peak[0] = max(peak[0], resident() - start)

        watcher = threading.Thread(target=watch)
        watcher.start()
        began, busy = time.perf_counter(), time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began
        self.busy[name] = self.busy.get(name, 0.0) + time.process_time() - busy
        done.set()
        watcher.join()
        self.extra[name] = max(self.extra.get(name, 0.0), peak[0], resident() - start)


def replace_models(hidden: int, dtype: torch.dtype) -> None:
    """Scorer and student find the states of a model instead of computing them, and there is no
    objective."""
    states_TH = torch.randn(TOKENS, hidden).to(dtype)

    def states(model: nn.Module, ids_BT: Tensor, layers: Any, wanted_BT: Tensor) -> Any:
        return states_TH[: int(wanted_BT.sum())], []

    def objective(batch: MicroBatch, *_: Any) -> ObjectiveOutput:
        assert batch.teacher_hidden_NH is not None
        return ObjectiveOutput(torch.zeros((), requires_grad=True), {"non_finite": 0.0})

    names: dict[str, Any] = {"layer_states": states, "objective": objective}
    for module in (scoring, learning):
        for name, value in names.items():
            if hasattr(module, name):
                setattr(module, name, value)
    scoring.sampled_logprobs = lambda hidden_NH, *_: torch.zeros(len(hidden_NH))


def config(dtype: str, rows: int) -> Config:
    """W*, whose rows have states and views."""
    tree = settings(full=True).model_dump()
    tree["model"]["dtype"] = dtype
    tree["training"] |= {"batch_size": rows, "max_staleness": 2}
    tree["outputs"]["trajectories"] = True
    return Config.model_validate(tree)


def chunks(rows: int) -> list[pa.Table]:
    """``rows`` completions of ``TOKENS``, in chunks."""
    few = trajectories(VIEWS, rows).to_pylist()
    for row in few:
        row |= {"completion_ids": [7] * TOKENS, "logprobs": [-1.0] * TOKENS}
    schema = trajectories(VIEWS, 1).schema
    return [
        pa.Table.from_pylist(few[start : start + CHUNK], schema=schema)
        for start in range(0, rows, CHUNK)
    ]


class OnePass:
    """Scorer, agreement stage and learner of one configuration."""

    def __init__(self, settings: Config, model: Path, folder: Path) -> None:
        self.settings = settings
        self.scorer = scoring.TeacherScorer(settings, model)
        self.student = learning.Student(settings, model)
        self.filter = RolloutFilter(settings, model)
        self.run_dir = RunDir(folder, settings.outputs)

    def __call__(self, chunks: list[pa.Table]) -> Stages:
        """One batch from the first stage to the last."""
        stages, batches, batch = Stages(), BatchFilter(self.settings), None
        for chunk in chunks:
            with stages.timed("score"):
                scored = self.scorer.score(chunk)
            with stages.timed("store chunks"):
                kept = ray.put(scored)
            del scored
            with stages.timed("agree"):
                table = ray.get(kept)
                batches.add(without(table, self.filter.row_reasons(table)))
                batch = batches.next_batch()
                if batch is not None:
                    batch, _ = with_agreement_weights(batch, self.settings, 0, None)
            del kept, table
        with stages.timed("store batch"):
            kept = ray.put(batch)
        del batch, batches
        with stages.timed("learn"):
            table = ray.get(kept)
            fresh = rows_where(table, table["version_first"].to_numpy() <= 2)
            done = update_without_bad_rows(self.student, fresh, 0, learning.alone)
            assert done.rows.num_rows == table.num_rows
            batch_totals(done.rows, 0), stage_spans(done.rows)
            self.run_dir.write_trajectories(1, done.rows.drop_columns(list(NOT_KEPT)))
        return stages


def measured(shape: str, dtype: str, rows: int) -> dict[str, Any]:
    """Medians of some passes, the largest extra memory, and the peak of the process in bytes."""
    torch.set_num_threads(1)
    replace_models(SHAPES[shape], getattr(torch, dtype))
    ray.init(
        num_cpus=1, object_store_memory=6 * 2**30, include_dashboard=False, log_to_driver=False
    )
    with tempfile.TemporaryDirectory() as folder:
        model = make_tiny_model(
            Path(folder, "model"), hidden_size=SHAPES[shape], num_hidden_layers=1
        )
        work, batch = OnePass(config(dtype, rows), model, Path(folder)), chunks(rows)
        passes = [work(batch) for _ in range(1 + REPEATS)]
    names = list(passes[0].seconds)
    return {
        "seconds": {n: statistics.median(one.seconds[n] for one in passes[1:]) for n in names},
        "busy": {n: statistics.median(one.busy[n] for one in passes[1:]) for n in names},
        "extra": {n: max(one.extra[n] for one in passes) for n in names},
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def size(shape: str, dtype: str, rows: int) -> int:
    """Bytes of the states of a batch."""
    return rows * TOKENS * SHAPES[shape] * getattr(torch, dtype).itemsize


def main() -> None:
    """Each configuration in a process of its own, a line for each stage."""
    print("model  dtype     rows  MiB    | stage         s      cpu s  GB/s   extra")
    for shape, dtype, rows in itertools.product(SHAPES, ("float32", "bfloat16"), ROWS):
        states = size(shape, dtype, rows)
        if states > LIMIT:
            continue
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.data_path", shape, dtype, str(rows)],
            cwd=ROOT, text=True, check=True, stdout=subprocess.PIPE,
            env=os.environ | computing_env(0).get("env_vars", {}),
        )  # fmt: skip
        found = json.loads(done.stdout.splitlines()[-1])
        for name, seconds in found["seconds"].items():
            passed_on = states / rows * CHUNK if name in ("score", "store chunks") else states
            print(
                f"{shape:6} {dtype:9} {rows:4} {states / 2**20:5.0f}   | {name:12} {seconds:6.3f} "
                f"{found['busy'][name]:6.3f} "
                f"{states / seconds / 1e9:8.1f} {found['extra'][name] * 2**20 / passed_on:6.2f}",
                flush=True,
            )
        print(f"largest process: {found['peak'] / 2**30:.1f} GiB")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measured(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
    else:
        main()
