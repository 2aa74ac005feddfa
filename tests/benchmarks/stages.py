"""Scoring and learning of one step against the bare model: python -m tests.benchmarks.stages

W* rows (see ``step.py``) on SmolLM2-135M. Scoring: all views of 4 rows, against the backbone's
forward pass over the same tokens, padded, in batches by length. Learning: one update, against
forward and backward of the backbone over the same micro-batches, from the sum of its states.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from actors.runtime.placement import computing_env
from tests.support.small_run import ROOT
from unisd_core.common.process import use_threads
from unisd_core.common.schema import TRAJECTORY
from unisd_core.config.run import Config
from unisd_core.models.acceleration.prefix_tree import by_tokens, right_padded
from unisd_core.models.fetch import resolve_model
from unisd_core.models.load import backbone
from unisd_core.scoring.agreement_columns import with_agreement_weights
from unisd_core.scoring.scorer import TeacherScorer, View
from unisd_core.training.micro_batches import group_by_length, input_ids
from unisd_core.training.student import Student

ROWS, PROMPT, TOKENS = 4, 100, 32
VIEWS = (160, 260, 280, 300, 160)
"""Prompt tokens of the teacher's view, three auxiliary ones and the negative one."""


def settings(full: bool) -> Config:
    """W*, or W where only the divergence is computed."""
    off = {} if full else {
        "agreement": {"level": "off"}, "contrastive": {"weight": 0}, "features": {"weight": 0},
    }  # fmt: skip
    return Config.model_validate(
        {"objective": off, "teacher": {"kind": "ema" if full else "frozen"},
         "scorer": {"cache_mib": 0}}
    )  # fmt: skip


def trajectories(views: tuple[int, ...], rows: int = ROWS) -> pa.Table:
    """Random ids of lengths within a fifth of those given."""
    rng = np.random.default_rng(0)

    def ids(length: int) -> list[int]:
        spread = max(1, length // 5)
        return rng.integers(100, 40_000, length + rng.integers(-spread, spread + 1)).tolist()

    table = [
        {
            "position": n, "attempt": 0, "uid": str(n), "row": n, "prompt_ids": ids(PROMPT),
            "view_ids": [ids(length) for length in views],
            "completion_ids": rng.integers(100, 40_000, TOKENS).tolist(),
            "logprobs": [-1.0] * TOKENS, "version_first": 0, "version_last": 0,
            "finish_reason": "length", "source": "student", "replica": 0,
        }
        for n in range(rows)
    ]  # fmt: skip
    return pa.Table.from_pylist(table, schema=TRAJECTORY)


def seconds(work: Callable[[], Any]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def bare_states(model: torch.nn.Module, rows: list[list[int]]) -> torch.Tensor:
    """The backbone's last states of ``rows``, padded on the right."""
    ids_BT = right_padded(rows).clamp(min=0)
    return backbone(model)(ids_BT, use_cache=False).last_hidden_state


def bare_scoring(scorer: TeacherScorer, table: pa.Table) -> None:
    """The backbone over what the scorer reads, and nothing else."""
    views: list[View] = [
        view for n, row in enumerate(table.to_pylist()) for view in scorer._views(n, row)
    ]
    with torch.inference_mode():
        views.sort(key=lambda view: len(view.ids))
        for batch in by_tokens(views, lambda view: view.ids, scorer.config.scorer.batch_tokens):
            bare_states(scorer.model, [view.ids for view in batch])


def bare_learning(student: Student, rows: list[dict[str, Any]]) -> None:
    """Forward and backward of the backbone over the same micro-batches."""
    limit = student.config.training.micro_batch_tokens
    for batch in group_by_length(rows, limit, by_teacher=False):
        (bare_states(student.model, [input_ids(row) for row in batch]).sum() * 1e-6).backward()
    student.optimizer.zero_grad(set_to_none=True)


def pairs(one: Callable[[], Any], other: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Median ratio of one to the other, taken in turn, with the smallest and largest."""
    one(), other()
    ratios = sorted(seconds(one) / seconds(other) for _ in range(repeats))
    return {"ratio": statistics.median(ratios), "least": ratios[0], "most": ratios[-1]}


def scoring(config: Config, model: Path, table: pa.Table, repeats: int) -> dict[str, float]:
    """A pass of the scorer."""
    scorer = TeacherScorer(config, str(model))
    return pairs(lambda: scorer.score(table), lambda: bare_scoring(scorer, table), repeats)


def learning(config: Config, model: Path, table: pa.Table, repeats: int) -> dict[str, float]:
    """An update from what the scorer made of the rows."""
    scored, _ = with_agreement_weights(
        TeacherScorer(config, str(model)).score(table), config, 0, None
    )
    student, rows = Student(config, model), scored.to_pylist()
    return pairs(
        lambda: student.update(scored, 0, ROWS), lambda: bare_learning(student, rows), repeats
    )


def ratios(repeats: int) -> dict[str, float]:
    """Ours over the bare model, by stage and work; prints a line for each."""
    use_threads(0)
    model = Path(resolve_model("HuggingFaceTB/SmolLM2-135M-Instruct"))
    found: dict[str, float] = {}
    for name, full, views in (("W", False, VIEWS[:1]), ("W*", True, VIEWS)):
        for stage in (scoring, learning):
            one = stage(settings(full), model, trajectories(views), repeats)
            found[f"{stage.__name__} {name}"] = one["ratio"]
            spread = f"[{one['least']:.2f}, {one['most']:.2f}]"
            print(f"{stage.__name__} {name}: {one['ratio']:.2f} {spread} x bare", flush=True)
    return found


def ratios_as_in_a_run(repeats: int) -> dict[str, float]:
    """``ratios`` of a process with the allocator that scorers and learners have."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.stages", str(repeats)],
        cwd=ROOT, text=True, check=True, stdout=subprocess.PIPE,
        env=os.environ | computing_env(0).get("env_vars", {}),
    )  # fmt: skip
    *lines, last = done.stdout.splitlines()
    print("\n".join(lines))
    return json.loads(last)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(ratios(int(sys.argv[1]))))
    else:
        ratios_as_in_a_run(repeats=5)
