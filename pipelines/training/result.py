"""The end of a run: which weights are its result, what it cost, and the summary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from actors.admission.ledger import counters_of
from actors.checkpoints import folder as checkpoints
from actors.fleet import Fleet
from actors.generator.types import ReplicaReport
from actors.runtime.ray_session import cluster_cores
from actors.runtime.resource_plan import resource_plan
from actors.weights.buckets import weight_update
from pipelines.command.console import report
from pipelines.training.evaluation import Evaluation
from pipelines.training.setup import RunSetup
from pipelines.training.validation import best_weights
from unisd_core.common.files import json_lines
from unisd_core.config.load import config_sha256
from unisd_core.config.run import Config
from unisd_core.models.lora import save_merged
from unisd_core.models.trained_weights import save_trained
from unisd_core.reporting.energy import PowerModel
from unisd_core.reporting.resources import Resources, StageUse, account
from unisd_core.reporting.run_dir import RunDir
from unisd_core.reporting.summary import (
    LedgerCounts,
    Mechanisms,
    Seconds,
    Staleness,
    Summary,
    accuracy_change,
    package_versions,
    render_table,
)
from unisd_core.training.batch_stats import BatchTotals


@dataclass(frozen=True)
class Result:
    """The weights a run ends with, and the policy version under which the replicas serve them."""

    last: checkpoints.Checkpoint
    weights: dict[str, Tensor]
    served: int


def choose_result(setup: RunSetup, fleet: Fleet, run: RunDir) -> Result:
    """The last weights, or the best on validation rows, which then are served again."""
    last = checkpoints.newest(run.path / "checkpoints", note=report)
    if last is None:
        raise RuntimeError(f"{run.path}: training ended without a checkpoint")
    if setup.config.evaluation.select == "last":
        return Result(last, last.adapter, last.version)
    step, weights = best_weights(run.path)
    report(f"the weights of step {step} were the best on validation rows and are the result")
    # A number that no version of the run has: what it serves was never trained on.
    fleet.load(weight_update(last.version + 1, weights))
    return Result(last, weights, last.version + 1)


def finish(
    setup: RunSetup,
    fleet: Fleet,
    run: RunDir,
    result: Result,
    before: Evaluation,
    after: Evaluation,
    seconds: float,
) -> Summary:
    """Save the trained weights, write summary.json and print the final table."""
    config, last = setup.config, result.last
    saved = save_trained(config, result.weights, setup.model.folder, run.path)
    if config.outputs.merged_model and config.model.finetune == "lora":
        save_merged(setup.model.folder, result.weights, config.model.lora, run.path / "merged")
    outcome = fleet.report(result.served)
    counters = counters_of(last.ledger["outcomes"])
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
            limit=config.training.max_staleness,
            max=totals.staleness_max,
            mean=totals.staleness_sum / totals.rows if totals.rows else None,
        ),
        ledger=LedgerCounts(**{name: counters[name] for name in LedgerCounts.model_fields}),
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
        mechanisms=mechanism_means(run.path / "metrics.jsonl", config),
        resources=run_resources(config, outcome.replicas, totals, seconds, cluster_cores()),
        config_sha256=config_sha256(config),
        versions=package_versions(),
    )
    run.write_summary(summary.to_json())
    table = render_table(summary)
    (run.path / "report.txt").write_text(table)
    report("\n" + table + f"\ntrained weights in {saved}, other files in {run.path}")
    return summary


def run_resources(
    config: Config,
    replicas: Sequence[ReplicaReport],
    totals: BatchTotals,
    seconds: float,
    cores: int,
) -> Resources:
    """What the run cost: the GPUs it reserved or, where it reserved none, all ``cores``."""
    gpus = math.ceil(sum(share.count * share.gpus for share in resource_plan(config)))
    power = PowerModel() if gpus else PowerModel.of_cores(cores)
    generated = StageUse(
        seconds=sum(report.busy_seconds for report in replicas),
        tokens=sum(report.tokens for report in replicas),
        peak_memory_bytes=max(report.peak_memory for report in replicas),
    )
    scored = StageUse(
        seconds=totals.score_seconds,
        tokens=totals.scored_tokens,
        peak_memory_bytes=totals.score_memory,
    )
    learned = StageUse(
        seconds=totals.seconds, tokens=totals.tokens, peak_memory_bytes=totals.learn_memory
    )
    stages = {"generate": generated, "score": scored, "learn": learned}
    return account(seconds, gpus or 1, totals.tokens, stages, power)


def mechanism_means(metrics: Path, config: Config) -> Mechanisms:
    """Mean over the steps of the metric that shows each mechanism at work; None where it is off."""
    terms = config.objective
    off = {
        "agreement_spread": terms.agreement.level == "off",
        "ema_distance": config.teacher.kind != "ema",
        "clipped_fraction": not terms.divergence.weight or terms.divergence.clip is None,
    }
    # There are none where the last step was fetched from a mirror.
    lines = [line.fields for line in json_lines(metrics) if line.fields is not None]
    means = {}
    for name in Mechanisms.model_fields:
        known = [] if off.get(name) else lines
        values = [line[name] for line in known if line.get(name) is not None]
        means[name] = float(np.mean(values)) if values else None
    return Mechanisms(**means)


def _rate(tokens: float, seconds: float) -> float:
    return tokens / seconds if seconds else 0.0
