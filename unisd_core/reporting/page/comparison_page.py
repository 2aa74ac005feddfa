"""Comparison page: several runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from unisd_core.reporting.page.bars import Dot, intervals
from unisd_core.reporting.page.curves import Series, curves
from unisd_core.reporting.page.rendering import duration, points, render
from unisd_core.reporting.page.run_files import RunRecord
from unisd_core.reporting.page.run_page import card

CURVES = (
    ("Loss", "nats", "loss"),
    ("Log-prob of the student's own tokens", "nats", "student_logprob"),
    ("Length of completions", "tokens", "completion_tokens_mean"),
    ("Mean agreement weight", "weight", "agreement_weight_mean"),
    ("Mean staleness", "policy versions", "staleness_mean"),
    ("Gradient norm", "Euclidean norm", "grad_norm"),
)
NOT_COMPARED = ("name", "output_dir")


def comparison_page(runs: Sequence[RunRecord], links: Sequence[str]) -> str:
    """One self-contained page; ``links`` lead to the runs' own pages."""
    labels = _labels(runs)
    names = list(dict.fromkeys(one.name for run in runs for one in run.test_sets))
    by_run = [{one.name: one for one in run.test_sets} for run in runs]
    rows = [
        {
            "label": label,
            "link": link,
            "run": run,
            "cards": [card(sets[name]) if name in sets else None for name in names],
            "time": duration(run.seconds.total) if run.seconds else "–",
        }
        for label, link, run, sets in zip(labels, links, runs, by_run, strict=True)
    ]
    gains = [_gains(name, labels, by_run) for name in names]
    right = [
        [(line["step"], 100 * float(line["accuracy"])) for line in run.validation] for run in runs
    ]
    learning = [
        curves("Validation accuracy", "% right", _series(labels, right)),
        *(
            curves(title, unit, _series(labels, [run.numbers(key) for run in runs]))
            for title, unit, key in CURVES
        ),
    ]
    return render(
        "comparison.html",
        rows=rows,
        test_sets=names,
        gains=gains,
        learning=learning,
        differences=differences(labels, runs),
        labels=labels,
    )


def differences(labels: Sequence[str], runs: Sequence[RunRecord]) -> list[tuple[str, list[Any]]]:
    """The settings that are not the same in all runs, with the value of each."""
    keys = dict.fromkeys(key for run in runs for key in run.settings if key not in NOT_COMPARED)
    found = [(key, [run.settings.get(key) for run in runs]) for key in keys]
    return [(key, values) for key, values in found if any(one != values[0] for one in values)]


def _labels(runs: Sequence[RunRecord]) -> list[str]:
    """The runs' names; where two share one, their folders."""
    names = [run.name for run in runs]
    if len(set(names)) == len(names):
        return names
    return [str(run.path) for run in runs]


def _series(labels: Sequence[str], values: Sequence[list[tuple[float, float]]]) -> list[Series]:
    return [Series(label, found) for label, found in zip(labels, values, strict=True)]


def _gains(name: str, labels: Sequence[str], by_run: Sequence[Mapping[str, Any]]) -> Markup:
    dots = []
    for label, sets in zip(labels, by_run, strict=True):
        change = sets[name].change if name in sets else None
        if change:
            low, high = change.ci95
            gain = change.difference
            dots.append(Dot(label, 100 * gain, 100 * low, 100 * high, words=points(gain)))
    note = "Points gained over the untrained model, with paired 95 % intervals."
    return intervals(f"Gain on {name}", "points", dots, note)
