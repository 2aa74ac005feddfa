"""Evaluation before and after training: the plan, the views' accuracy, test sets."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from actors.generator.completions import CachedCompletions
from actors.generator.pool import PoolClient
from actors.runtime.resource_plan import render_plan, resource_plan
from pipelines.command.console import report
from pipelines.training.setup import RunSetup
from unisd_core.common.errors import UserError
from unisd_core.common.schema import fitting
from unisd_core.evaluation.held_out import HeldOutSet
from unisd_core.evaluation.outcomes import score_outcomes, write_outcomes
from unisd_core.models.completion_cache import CompletionText
from unisd_core.reporting.run_dir import RunDir
from unisd_core.tasks.splits import asked_in_training
from unisd_core.views.builder import needs_teacher
from unisd_core.views.prompt_table import PromptTable


@dataclass(frozen=True)
class Evaluation:
    """Which rows were right, by test set, and the seconds it took."""

    results: dict[str, np.ndarray]
    seconds: float


def announce(setup: RunSetup, prompts: PromptTable, test_sets: list[HeldOutSet]) -> None:
    """Say what is trained on what, with which resources, and which rows were left out."""
    left_out = described_limits(prompts)
    report(render_plan(resource_plan(setup.config)))
    report(
        f"{setup.config.name}: {setup.config.model.name_or_path} on {setup.task.name}, "
        f"{prompts.num_rows} training rows{left_out and f' ({left_out})'}"
    )
    if prompts.counts:
        report(
            "texts for the views: " + ", ".join(f"{n} {key}" for key, n in prompts.counts.items())
        )
    for test_set in test_sets:
        known = asked_in_training(test_set.rows, setup.rows.train)
        if known:
            report(
                f"{test_set.name}: {known} of {len(test_set.rows)} rows ask a question that "
                "training rows ask, too"
            )
        if test_set.left_out:
            report(
                f"{test_set.name}: {test_set.left_out} rows over model.max_prompt_length left out"
            )


def described_limits(prompts: PromptTable, names: int = 5) -> str:
    """Which of the rows made so far are left out and why; "" where none is."""
    by_limit: dict[str, list[str]] = {}
    for uid, limit in prompts.left_out.items():
        by_limit.setdefault(limit, []).append(uid)
    if not by_limit:
        return ""
    parts = []
    for limit, uids in sorted(by_limit.items()):
        more = ", ..." if len(uids) > names else ""
        parts.append(f"{len(uids)} over {limit} ({', '.join(uids[:names])}{more})")
    of = "" if prompts.made == prompts.num_rows else f" of the {prompts.made} seen so far"
    return f"left out{of}: {', '.join(parts)}"


def check_teacher(setup: RunSetup, pool: PoolClient, prompts: PromptTable) -> None:
    """Measure how often each view answers right and print it beside the student.

    A teacher that does not beat its student has nothing to teach.
    Raises UserError then, unless evaluation.require_better_teacher is off.
    """
    settings = setup.config.evaluation
    if settings.teacher_rows == 0:
        return
    sample = _sampled(prompts, settings.teacher_rows, setup.config.seed)
    rows = setup.rows.train
    views = {
        "student": [(entry, entry["prompt_ids"]) for entry in sample],
        "teacher": [(entry, entry["view_ids"][0]) for entry in sample],
        "auxiliary": [(entry, ids) for entry in sample for ids in entry["view_ids"][1:2]],
        "negative": [(entry, ids) for entry in sample for ids in entry["negative_ids"][:1]],
    }
    asked = [(name, entry, ids) for name, pairs in views.items() for entry, ids in pairs]
    answers = _complete(setup, pool, [ids for _, _, ids in asked], 0)
    right: dict[str, list[bool]] = {}
    scores = setup.task.score_many(
        [rows[entry["row"]] for _, entry, _ in asked], [answer.text for answer in answers]
    )
    for (name, _, _), score in zip(asked, scores, strict=True):
        right.setdefault(name, []).append(score.correct)
    accuracy = {name: float(np.mean(values)) for name, values in right.items()}
    shown = ", ".join(f"{name} {100 * value:.0f} %" for name, value in accuracy.items())
    report(f"right on {len(sample)} training rows: {shown}")
    taught = needs_teacher(setup.config) or setup.config.rollout.teacher_share > 0
    worse = accuracy["teacher"] <= accuracy["student"]
    if taught and worse and settings.require_better_teacher:
        raise UserError(
            f"the teacher is right on {100 * accuracy['teacher']:.0f} % of the rows, "
            f"its student on {100 * accuracy['student']:.0f} %, so it has nothing to teach; "
            "try another views.reference_format, or set evaluation.require_better_teacher=false"
        )


def _sampled(prompts: PromptTable, count: int, seed: int) -> list[dict[str, Any]]:
    """``count`` rows drawn at random; others take the place of those that are left out."""
    rng, total = random.Random(seed), prompts.num_rows
    drawn = rng.sample(range(total), min(count, total))
    sample = fitting(prompts.take(drawn)).to_pylist()
    if len(sample) < len(drawn):
        others = sorted(set(range(total)).difference(drawn))
        rng.shuffle(others)
        while len(sample) < len(drawn) and others:
            more, others = others[:count], others[count:]
            sample += fitting(prompts.take(more)).to_pylist()
    return sample[:count]


def evaluate(
    setup: RunSetup,
    pool: PoolClient,
    test_sets: list[HeldOutSet],
    run: RunDir,
    stage: str,
    version: int = 0,
) -> Evaluation:
    """Accuracy of a policy version; every answer goes to ``evaluation/<stage>-<set>.parquet``."""
    began = time.perf_counter()
    results: dict[str, np.ndarray] = {}
    folder = run.path / "evaluation"
    folder.mkdir(exist_ok=True)
    for test_set in test_sets:
        answers = _complete(setup, pool, test_set.prompts, version)
        outcomes = score_outcomes(setup.task, test_set.rows, [answers])
        write_outcomes(outcomes, folder / f"{stage}-{test_set.name}.parquet")
        right_B = outcomes.correct_BN[:, 0]
        results[test_set.name] = right_B
        rate = f"{100 * right_B.mean():.1f} %"
        report(f"{stage} accuracy on {test_set.name}: {rate} of {len(right_B)} rows")
    return Evaluation(results, time.perf_counter() - began)


def _complete(
    setup: RunSetup, pool: PoolClient, prompts: list[list[int]], version: int
) -> list[CompletionText]:
    """Greedy answers; the untrained model's are the same for every run."""
    completions = CachedCompletions(
        pool,
        setup.model.chat,
        setup.model.weights if version == 0 else None,
        version=version,
        in_flight=setup.config.generator.groups_in_flight,
    )
    return completions.complete(prompts, [setup.greedy] * len(prompts))
