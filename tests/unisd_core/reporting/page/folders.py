"""Run folders as a run leaves them, with numbers and texts of the test's choosing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unisd_core.common.schema import SCORED
from unisd_core.config.load import dump_config
from unisd_core.config.run import Config
from unisd_core.evaluation.outcomes import Outcomes, write_outcomes
from unisd_core.reporting.summary import accuracy_change

BATCH = 8
START = 1_700_000_000.0
STEP_S = 30.0
WORDS = ["Call", " the", " tool", " get", "_", "weather", "(", "city", "=", "Oslo", ")", ".", "\n"]


def decode(ids: list[int]) -> str:
    """Token ids of the folders here as text."""
    return "".join(WORDS[token % len(WORDS)] for token in ids)


def line(step: int, **changes: Any) -> dict[str, Any]:
    """A line of metrics.jsonl whose stages overlap."""
    end = START + STEP_S * (step + 1)
    values: dict[str, Any] = {
        "step": step, "unix_time": end, "loss": 1 / step, "loss_divergence": 0.8 / step,
        "loss_contrastive": 0.2 / step, "loss_divergence_unweighted": 0.9 / step,
        "student_logprob": -2 / step, "grad_norm": 0.5, "learning_rate": 1e-3,
        "completion_tokens_mean": 30.0, "truncated_fraction": 0.1, "rows": BATCH,
        "staleness_mean": 1.5, "staleness_max": 2, "agreement_weight_mean": 0.9,
        "agreement_weight_min": 0.1, "agreement_spread": 0.2,
        "engine_learner_logprob_gap": 1e-6, "seconds_wait": 18.0, "seconds_learn": 10.0,
        "spans": {
            "generate": [[end - 58, end - 32]], "score": [[end - 30, end - 12]],
            "learn": [[end - 10, end]], "push": [[end - 29, end - 27]],
        },
    }  # fmt: skip
    return {**values, **changes}


def trajectories(step: int, tokens: int = 20, **changes: Any) -> list[dict[str, Any]]:
    """The rows that ``step`` trained on."""
    rng = np.random.default_rng(step)
    return [
        {
            "position": step * BATCH + place, "attempt": 1, "uid": f"task/{step}/{place}", "row": 0,
            "prompt_ids": list(range(12)), "view_ids": [],
            "completion_ids": rng.integers(0, len(WORDS), tokens).tolist(),
            "logprobs": (-rng.random(tokens)).tolist(), "version_first": step - 2,
            "version_last": step - 2, "finish_reason": "stop", "source": "student", "replica": 0,
            "auxiliary_logprobs": (-rng.random((2, tokens))).tolist(),
            "negative_logprobs": (-rng.random(tokens)).tolist(),
            "token_weights": (1 - 0.9 * rng.random(tokens) ** 3).tolist(),
            "sequence_weight": 1.0, "batch": step - 1, **changes,
        }
        for place in range(BATCH)
    ]  # fmt: skip


def outcomes(rows: int, right: int) -> Outcomes:
    """Answers to ``rows`` rows, the first ``right`` of them right."""
    right_BN = (np.arange(rows) < right)[:, None]
    uids = [str(row) for row in range(rows)]
    texts = [["answer"]] * rows
    return Outcomes(uids, ["all"] * rows, texts, right_BN, right_BN, right_BN, [[{}]] * rows)


def write_run(
    folder: Path, steps: int = 12, *, finished: bool = True, rows: bool = True, **settings: Any
) -> Path:
    """A run of ``steps`` steps in ``folder``; ``rows``: with trajectories."""
    folder.mkdir(parents=True)
    config = Config.model_validate(
        {"name": folder.name, "training": {"max_steps": steps}, **settings}
    )
    (folder / "config.yaml").write_text(dump_config(config))
    write_lines(folder / "metrics.jsonl", [line(step) for step in range(1, steps + 1)])
    validated = [
        {"step": step, "accuracy": step / steps / 2, "low": step / steps / 3,
         "high": min(1, step / steps), "rows": 32, "best": True}
        for step in range(2, steps + 1, max(2, steps // 6))
    ]  # fmt: skip
    write_lines(folder / "validation.jsonl", validated)
    write_lines(
        folder / "incidents.jsonl",
        [{"unix_time": START + 95, "who": "scorer", "what": "stuck for 10 s; replaced"}],
    )
    (folder / "evaluation").mkdir()
    base, final = outcomes(50, 5), outcomes(50, 25)
    write_outcomes(base, folder / "evaluation" / "base-seen.parquet")
    if rows:
        (folder / "trajectories").mkdir()
        for step in range(1, steps + 1):
            write_step(folder, step, trajectories(step))
    if finished:
        write_outcomes(final, folder / "evaluation" / "final-seen.parquet")
        change = accuracy_change(base.correct_BN[:, 0], final.correct_BN[:, 0], 500, 0)
        write_summary(folder, steps, {"seen": change.model_dump()})
    return folder


def write_summary(folder: Path, steps: int, accuracy: dict[str, Any]) -> None:
    total = steps * BATCH
    summary = {
        "accuracy": accuracy,
        "staleness": {"limit": 2, "max": 2, "mean": 1.5},
        "ledger": {"admitted": total + 6, "consumed": total, "filtered": 3, "stale": 2,
                   "failed": 1, "in_flight": 0},
        "seconds": {"total": 400.0, "generate": 300.0, "score": 200.0, "learn": 120.0,
                    "push": 20.0, "evaluate": 60.0},
        "tokens_per_second": {"generate": 60.0, "score": 220.0, "learn": 70.0},
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary))


def write_lines(path: Path, found: list[dict[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(one)}\n" for one in found))


def write_step(folder: Path, step: int, rows: list[dict[str, Any]]) -> None:
    table = pa.Table.from_pylist(rows, schema=SCORED)
    pq.write_table(table, folder / "trajectories" / f"step-{step:06d}-part-0.parquet")
