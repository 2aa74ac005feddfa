"""The page of one run."""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup

from unisd_core.evaluation.scoreboard import Estimate
from unisd_core.reporting.page.bars import Bar, Dot, histogram, intervals, shares
from unisd_core.reporting.page.curves import Series, curves
from unisd_core.reporting.page.rendering import duration, points, render
from unisd_core.reporting.page.run_files import RunRecord, TestSet, changed_settings, is_number
from unisd_core.reporting.page.samples import samples
from unisd_core.reporting.page.timeline import STAGES, stage_times, timeline
from unisd_core.reporting.page.tokens import Decode
from unisd_core.reporting.page.trajectories import BIN_WIDTH, Trajectories, read_trajectories
from unisd_core.reporting.spans import busy_seconds

INCIDENTS = 200
"""Shown of a run, the latest ones."""

CURVES: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("Log-prob of the student's own tokens", "nats", (("student_logprob", "mean over tokens"),)),
    ("Length of completions", "tokens", (("completion_tokens_mean", "mean"),)),
    ("Truncated completions", "share of rows", (("truncated_fraction", "at the token limit"),)),
    ("Gradient norm", "Euclidean norm", (("grad_norm", "before it is scaled down"),)),
    ("Learning rate", "rate", (("learning_rate", "AdamW"),)),
    ("Engine against learner", "nats", (("engine_learner_logprob_gap", "mean gap per token"),)),
)


def run_page(run: RunRecord, decode: Decode | None) -> str:
    """One self-contained HTML page; tokens are shown as ids without ``decode``."""
    found = read_trajectories(run.path / "trajectories")
    return render(
        "run.html",
        run=run,
        settings=changed_settings(run.settings),
        facts=facts(run),
        cards=[card(one) for one in run.test_sets],
        accuracy=accuracy(run.test_sets),
        learning=learning(run),
        timeline=timeline(run),
        stages=stage_rows(run),
        staleness=staleness(run, found),
        agreement=agreement(run, found),
        ledger=ledger(run),
        incidents=run.incidents[-INCIDENTS:],
        start=start_time(run),
        trajectories=found,
        samples=samples(found.samples, decode),
        decoded=decode is not None,
    )


def facts(run: RunRecord) -> list[tuple[str, str]]:
    """Short facts under the headline."""
    steps = run.settings.get("training.max_steps")
    found = [("steps", f"{run.step:,}" + (f" of {steps:,}" if is_number(steps) else ""))]
    if run.seconds:
        found.append(("wall time", duration(run.seconds.total)))
    rows = sum(value for _, value in run.numbers("rows"))
    found.append(("rows trained on", f"{rows:,.0f}"))
    if run.staleness and run.staleness.mean is not None:
        age = run.staleness
        found.append(("staleness", f"mean {age.mean:.2f}, max {age.max} of {age.limit}"))
    found += [
        (f"{stage}, tokens/s", f"{rate:,.0f}") for stage, rate in run.tokens_per_second.items()
    ]
    found.append(("incidents", str(len(run.incidents))))
    return found


def card(test_set: TestSet) -> dict[str, Any]:
    """The headline of one test set."""
    change = test_set.change
    shown: dict[str, Any] = {
        "name": test_set.name,
        "rows": test_set.rows,
        "before": change.base if change else test_set.before and test_set.before.value,
        "after": change.final if change else test_set.after and test_set.after.value,
        "verdict": None,
    }
    if change:
        low, high = change.ci95
        verdict = "better" if low > 0 else "worse" if high < 0 else "no clear difference"
        interval = f"95 % interval {points(low)} to {points(high)}"
        shown |= {"verdict": verdict, "points": points(change.difference), "interval": interval}
    return shown


def accuracy(test_sets: list[TestSet]) -> Markup:
    """Accuracy before and after on one axis."""
    dots: list[Dot] = []
    for one in test_sets:
        change, words = one.change, ""
        if change:
            low, high = map(points, change.ci95)
            words = f"{points(change.difference)} points [{low}, {high}]"
        dots += _estimated(one.name, one.before, change.base if change else None, 0, "")
        dots += _estimated(one.name, one.after, change.final if change else None, 1, words)
    key = Markup(
        '<span><i class="key c0"></i> before</span> <span><i class="key c1"></i> after</span>'
    )
    note = "95 % bootstrap intervals over rows; the change is paired by row."
    drawn = intervals(
        "Accuracy before and after", "% right", dots, note, limits=(0, 100), length=560
    )
    return Markup('<div class="keyed"><p class="legend">{}</p>{}</div>').format(key, drawn)


def _estimated(
    label: str, estimate: Estimate | None, value: float | None, kind: int, words: str
) -> list[Dot]:
    """The estimate from the stored answers; where they are not there, the ``value`` alone."""
    if estimate is not None:
        low, high = 100 * estimate.low, 100 * estimate.high
        return [Dot(label, 100 * estimate.value, low, high, kind, words)]
    return [] if value is None else [Dot(label, 100 * value, kind=kind, words=words)]


def learning(run: RunRecord) -> list[Markup]:
    """Loss, validation accuracy, the terms, and what else tells how learning goes."""
    found = {key for line in run.metrics for key in line}
    terms = [
        re.fullmatch(r"loss_(\w+?)", key)
        for key in sorted(found)
        if not key.endswith("_unweighted")
    ]
    steps = [line["step"] for line in run.validation]
    right = [100 * float(line["accuracy"]) for line in run.validation]
    band = [
        (line["step"], 100 * line["low"], 100 * line["high"])
        for line in run.validation
        if is_number(line.get("low")) and is_number(line.get("high"))
    ]
    validation = Series("validation rows", list(zip(steps, right, strict=True)), band)
    return [
        curves("Loss", "nats", [Series("loss", run.numbers("loss"))]),
        curves("Validation accuracy", "% right", [validation], "Shaded: 95 % interval."),
        curves(
            "Terms of the loss",
            "nats, with their weights",
            [Series(term[1], run.numbers(term[0])) for term in terms if term],
        ),
        *(
            curves(title, unit, [Series(name, run.numbers(key)) for key, name in keys])
            for title, unit, keys in CURVES
        ),
    ]


def staleness(run: RunRecord, found: Trajectories) -> list[Markup]:
    """Ages of the rows over the steps, and of all trajectories."""
    drawn = [
        curves(
            "Staleness by step",
            "policy versions",
            [Series("mean", run.numbers("staleness_mean")),
             Series("largest", run.numbers("staleness_max"))],
        )
    ]  # fmt: skip
    if found.ages:
        oldest = max(*found.ages, int(run.settings.get("training.max_staleness") or 0))
        bars = [
            Bar(age - 0.5, age + 0.5, found.ages.get(age, 0), str(age))
            for age in range(min(0, *found.ages), min(oldest, 100) + 1)
        ]
        note = f"All {found.rows:,} trained trajectories."
        drawn.append(
            histogram("Staleness of rows", "policy versions", "rows", bars, note, whole=True)
        )
    return drawn


def agreement(run: RunRecord, found: Trajectories) -> list[Markup]:
    """Distributions of the agreement weights, and how they move."""
    drawn = []
    for title, unit, counts in (
        ("Agreement weights of tokens", "tokens", found.token_weights),
        ("Mean weights of rows", "rows", found.row_weights),
    ):
        if not counts.any():
            continue
        last = max(20, 1 + int(counts.nonzero()[0][-1]))
        edges = [round(BIN_WIDTH * place, 2) for place in range(len(counts) + 1)]
        bars = [
            Bar(edges[place], edges[place + 1], int(counts[place]),
                f"above {edges[place]:g}" + (
                    f" to {edges[place + 1]:g}" if place + 1 < len(counts) else ""))
            for place in range(last)
        ]  # fmt: skip
        note = f"All {found.rows:,} trained trajectories, {found.tokens:,} tokens."
        drawn.append(histogram(title, "weight", unit, bars, note))
    keys = ("agreement_weight_mean", "agreement_weight_min", "agreement_spread")
    names = ("mean", "smallest", "standard deviation")
    by_step = [Series(name, run.numbers(key)) for key, name in zip(keys, names, strict=True)]
    return [*drawn, curves("Agreement weights by step", "weight", by_step)]


def stage_rows(run: RunRecord) -> list[tuple[str, ...]]:
    """Busy seconds, share of the wall time and rate of each stage."""
    times = stage_times(run)
    known = run.seconds.model_dump() if run.seconds else {}
    total = known.pop("total", None)
    rows: list[tuple[str, ...]] = []
    for stage in dict.fromkeys([*STAGES, *known]):
        busy = known.get(stage, busy_seconds(times[stage]) if stage in times else None)
        if busy is not None:
            share = f"{100 * busy / total:.0f} %" if total else "–"
            rate = run.tokens_per_second.get(stage)
            rows.append((stage, f"{busy:,.1f}", share, f"{rate:,.0f}" if rate else "–"))
    return rows


def ledger(run: RunRecord) -> Markup:
    """Where every admitted prompt ended."""
    if run.ledger is None:
        return Markup("")
    parts = [(name, count) for name, count in run.ledger.model_dump().items() if name != "admitted"]
    return shares(
        f"Ledger of {run.ledger.admitted} admitted prompts",
        [(name.replace("_", " "), count) for name, count in parts],
    )


def start_time(run: RunRecord) -> float | None:
    """Unix time of the first thing that is known of the run."""
    moments = [spans[0][0] for spans in stage_times(run).values()]
    moments += [line["unix_time"] for line in run.incidents[:1]]
    return min(moments, default=None)
