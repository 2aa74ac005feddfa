"""What a run says before, during and after training: views' accuracy, evaluations, summary."""

from __future__ import annotations

import json
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from actors import checkpoint as checkpoints
from actors.batch_totals import BatchTotals
from actors.fleet import Fleet
from actors.plan import render_plan, resource_plan
from actors.predictor import Predictor
from pipelines.setup import TestSet, Workbench
from unisd_core.adapters import save_merged
from unisd_core.config import Config
from unisd_core.config_io import config_sha256
from unisd_core.errors import UserError
from unisd_core.evaluation.accuracy import AccuracyResult, score_completions
from unisd_core.run_dir import RunDir
from unisd_core.summary import (
    Ledger,
    Mechanisms,
    Seconds,
    Staleness,
    Summary,
    accuracy_change,
    package_versions,
    render_table,
)
from unisd_core.trained_weights import save_trained
from unisd_core.views import PromptTable, needs_teacher


@dataclass(frozen=True)
class Evaluation:
    """Outcome per test set, and the seconds it took (0 where it was read back)."""

    results: dict[str, np.ndarray]
    seconds: float


def announce(bench: Workbench, prompts: PromptTable, test_sets: list[TestSet]) -> None:
    """Say what is trained on what, with which resources, and which rows were left out."""
    left_out = ", ".join(f"{n} over {key}" for key, n in prompts.left_out.items() if n)
    say(render_plan(resource_plan(bench.config)))
    say(
        f"{bench.config.name}: {bench.config.model.path} on {bench.task.name}, "
        f"{prompts.table.num_rows} training rows" + (f" (left out: {left_out})" if left_out else "")
    )
    if prompts.counts:
        say("texts for the views: " + ", ".join(f"{n} {key}" for key, n in prompts.counts.items()))
    for test_set in test_sets:
        if test_set.left_out:
            say(f"{test_set.name}: {test_set.left_out} rows over model.max_prompt_tokens left out")


def check_teacher(bench: Workbench, pool: Any, prompts: PromptTable) -> None:
    """Measure how often each view answers right and print it beside the student.

    A teacher that does not beat its student has nothing to teach.
    Raises UserError then, unless evaluation.require_better_teacher is off.
    """
    settings = bench.config.evaluation
    if settings.teacher_rows == 0:
        return
    sample = random.Random(bench.config.seed).sample(
        prompts.table.to_pylist(), min(settings.teacher_rows, prompts.table.num_rows)
    )
    rows = bench.task.rows("train")
    views = {
        "student": [(entry, entry["prompt_ids"]) for entry in sample],
        "teacher": [(entry, entry["view_ids"][0]) for entry in sample],
        "auxiliary": [(entry, ids) for entry in sample for ids in entry["view_ids"][1:2]],
        "negative": [(entry, ids) for entry in sample for ids in entry["negative_ids"][:1]],
    }
    asked = [(name, entry, ids) for name, pairs in views.items() for entry, ids in pairs]
    texts = _complete(bench, pool, [ids for _, _, ids in asked], 0)
    right: dict[str, list[bool]] = {}
    for (name, entry, _), text in zip(asked, texts, strict=True):
        right.setdefault(name, []).append(bench.task.score(rows[entry["row"]], text).correct)
    accuracy = {name: float(np.mean(values)) for name, values in right.items()}
    shown = ", ".join(f"{name} {100 * value:.0f} %" for name, value in accuracy.items())
    say(f"right on {len(sample)} training rows: {shown}")
    taught = needs_teacher(bench.config) or bench.config.rollout.teacher_share > 0
    worse = accuracy["teacher"] <= accuracy["student"]
    if taught and worse and settings.require_better_teacher:
        raise UserError(
            f"the teacher is right on {100 * accuracy['teacher']:.0f} % of the rows, "
            f"its student on {100 * accuracy['student']:.0f} %, so it has nothing to teach; "
            "try another views.reference_format, or set evaluation.require_better_teacher=false"
        )


def evaluate(
    bench: Workbench,
    pool: Any,
    test_sets: list[TestSet],
    run: RunDir,
    stage: str,
    version: int = 0,
) -> Evaluation:
    """Accuracy of a policy version; per-row outcomes go to ``evaluation/<stage>-<set>.parquet``.

    The base model's outcomes are read back when a run is resumed.
    """
    began = time.perf_counter()
    results: dict[str, np.ndarray] = {}
    folder = run.path / "evaluation"
    folder.mkdir(exist_ok=True)
    for test_set in test_sets:
        path = folder / f"{stage}-{test_set.name}.parquet"
        uids = [row.uid for row in test_set.rows]
        known = _read_back(path, uids) if stage == "base" else None
        if known is None:
            texts = _complete(bench, pool, test_set.prompts, version)
            result = score_completions(bench.task, test_set.rows, texts)
            _write(path, uids, texts, result)
            known = result.correct_B
        results[test_set.name] = known
        say(f"{stage} accuracy on {test_set.name}: {100 * known.mean():.1f} % of {len(uids)} rows")
    return Evaluation(results, time.perf_counter() - began)


def _complete(bench: Workbench, pool: Any, prompts: list[list[int]], version: int) -> list[str]:
    """Greedy answers; the untrained model's are the same for every run."""
    weights = bench.base_weights if version == 0 else None
    in_flight = 2 * bench.config.generator.replicas
    predictor = Predictor(pool, bench.tokenizer, weights, version=version, in_flight=in_flight)
    return [answer.text for answer in predictor.complete(prompts, bench.greedy)]


def _write(path: Path, uids: list[str], texts: list[str], result: AccuracyResult) -> None:
    table = pa.table(
        {
            "uid": uids,
            "completion": texts,
            "correct": result.correct_B,
            "extracted": result.extracted_B,
        }
    )
    temporary = path.with_suffix(".tmp")
    pq.write_table(table, temporary)
    os.replace(temporary, path)


def _read_back(path: Path, uids: list[str]) -> np.ndarray | None:
    if not path.exists():
        return None
    table = pq.read_table(path)
    return table["correct"].to_numpy() if table["uid"].to_pylist() == uids else None


def finish(
    bench: Workbench,
    fleet: Fleet,
    run: RunDir,
    before: Evaluation,
    after: Evaluation,
    seconds: float,
) -> None:
    """Save the adapter, write summary.json and print the final table."""
    config = bench.config
    last = checkpoints.newest(run.path / "checkpoints")
    if last is None:
        raise RuntimeError(f"{run.path}: training ended without a checkpoint")
    result = save_trained(config, last.adapter, bench.model_dir, run.path)
    if config.outputs.merged_model and config.model.finetune == "lora":
        save_merged(bench.model_dir, last.adapter, config.model.lora, run.path / "merged")
    outcome = fleet.outcome(last.version)
    totals = BatchTotals(**last.totals)
    generated = sum(report.tokens for report in outcome.replicas)
    generating = sum(report.busy_seconds for report in outcome.replicas)
    summary = Summary(
        accuracy={
            name: accuracy_change(
                before.results[name], after.results[name], config.evaluation.bootstrap, config.seed
            )
            for name in before.results
        },
        steps=last.version,
        versions_published=outcome.pushes.published,
        replica_versions=tuple(report.version for report in outcome.replicas),
        staleness=Staleness(
            limit=config.training.staleness,
            max=totals.staleness_max,
            mean=totals.staleness_sum / totals.rows if totals.rows else None,
        ),
        ledger=Ledger(**{name: outcome.counters[name] for name in Ledger.model_fields}),
        seconds=Seconds(
            total=seconds,
            generate=generating,
            score=totals.score_seconds,
            learn=totals.seconds,
            push=sum(outcome.pushes.push_seconds),
            evaluate=before.seconds + after.seconds,
        ),
        tokens_per_second={
            "generate": _rate(generated, generating),
            "score": _rate(totals.scored_tokens, totals.score_seconds),
            "learn": _rate(totals.tokens, totals.seconds),
        },
        mechanisms=_mechanisms(run.path / "metrics.jsonl", config),
        config_sha256=config_sha256(config),
        versions=package_versions(),
    )
    run.write_summary(summary.to_json())
    table = render_table(summary)
    (run.path / "report.txt").write_text(table)
    say("\n" + table + f"\ntrained weights in {result}, other files in {run.path}")


def _mechanisms(metrics: Path, config: Config) -> Mechanisms:
    """Mean over the steps of the metric that shows each mechanism at work; None where it is off."""
    terms = config.objective
    off = {
        "agreement_spread": terms.agreement.level == "off",
        "ema_distance": config.teacher.kind != "ema",
        "clipped_fraction": not terms.divergence.weight or terms.divergence.clip is None,
    }
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    means = {}
    for name in Mechanisms.model_fields:
        known = [] if off.get(name) else lines
        values = [line[name] for line in known if line.get(name) is not None]
        means[name] = float(np.mean(values)) if values else None
    return Mechanisms(**means)


def _rate(tokens: float, seconds: float) -> float:
    return tokens / seconds if seconds else 0.0


def say(line: str) -> None:
    """A line for the person who runs this."""
    print(line, flush=True)
