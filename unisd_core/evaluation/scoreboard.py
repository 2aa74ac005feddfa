"""Accuracies of one model with intervals, beside a baseline's, as a record and as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from unisd_core.common.errors import UserError
from unisd_core.common.text_table import columns, points
from unisd_core.config.base import FrozenModel
from unisd_core.evaluation.bootstrap import row_bootstrap
from unisd_core.evaluation.outcomes import Outcomes


class Estimate(FrozenModel):
    """A mean over rows with its 95 % bootstrap interval, as fractions."""

    value: float
    low: float
    high: float


class CategoryScore(FrozenModel):
    """Accuracy on the rows of one category."""

    rows: int
    accuracy: float


class SetScore(FrozenModel):
    """One test set; all numbers but counts are fractions."""

    rows: int
    samples: int
    """Answers to each row."""
    accuracy: Estimate
    """Share of right answers, the mean over samples: pass@1."""
    pass_at: dict[int, Estimate]
    """k -> chance that one of k answers is right."""
    extracted: float
    """Share of answers that could be read."""
    cut_off: float
    """Share of answers that the token limit ended."""
    parts: dict[str, float]
    categories: dict[str, CategoryScore]
    """By the task's own categories; empty where there are fewer than two."""
    difference: Estimate | None
    """Accuracy minus the baseline's, paired by row; None without a baseline."""


def score_set(
    outcomes: Outcomes,
    baseline: Outcomes | None,
    *,
    pass_at: Sequence[int] = (),
    resamples: int = 10_000,
    seed: int = 0,
) -> SetScore:
    """Summarise one test set. pass@k is the unbiased estimate 1 - C(n - c, k) / C(n, k) of
    a row with c right answers among n.

    Raises UserError for a k above the number of samples, and for a baseline of other rows.
    """
    right_B = outcomes.correct_BN.mean(axis=1)
    difference = None
    if baseline is not None:
        if baseline.uids != outcomes.uids:
            raise UserError(
                f"the baseline answered {len(baseline.uids)} rows, and not the same "
                f"{len(outcomes.uids)} in this order; evaluate both with equal settings"
            )
        if baseline.rows_sha256 and baseline.rows_sha256 != outcomes.rows_sha256:
            raise UserError(
                "the baseline answered rows of the same names and other content; evaluate both on "
                "the same rows"
            )
        difference = _estimate(right_B - baseline.correct_BN.mean(axis=1), resamples, seed)
    return SetScore(
        rows=len(outcomes.uids),
        samples=outcomes.samples,
        accuracy=_estimate(right_B, resamples, seed),
        pass_at={k: _estimate(_pass_at(outcomes, k), resamples, seed) for k in pass_at},
        extracted=float(outcomes.extracted_BN.mean()),
        cut_off=float(1 - outcomes.finished_BN.mean()),
        parts=outcomes.mean_parts(),
        categories=_categories(outcomes, right_B),
        difference=difference,
    )


def _estimate(values_B: npt.NDArray[np.float64], resamples: int, seed: int) -> Estimate:
    found = row_bootstrap(values_B, 1, resamples, seed)
    return Estimate(value=found.difference, low=found.low, high=found.high)


def _pass_at(outcomes: Outcomes, k: int) -> npt.NDArray[np.float64]:
    samples = outcomes.samples
    if not 1 <= k <= samples:
        raise UserError(f"pass@{k} needs at least {k} samples of each row, there are {samples}")
    right = outcomes.correct_BN.sum(axis=1).tolist()
    return np.array([1 - math.comb(samples - c, k) / math.comb(samples, k) for c in right])


def _categories(outcomes: Outcomes, right_B: npt.NDArray[np.float64]) -> dict[str, CategoryScore]:
    members: dict[str, list[float]] = {}
    for category, right in zip(outcomes.categories, right_B.tolist(), strict=True):
        members.setdefault(category, []).append(right)
    if len(members) < 2:
        return {}
    return {
        name: CategoryScore(rows=len(found), accuracy=float(np.mean(found)))
        for name, found in sorted(members.items())
    }


def render_scores(scores: Mapping[str, SetScore]) -> str:
    """The scores as text: rates in percent, differences in points, and the unweighted mean over
    the sets where there are several (the paper's overall score)."""
    compared = any(score.difference for score in scores.values())
    ks = sorted({k for score in scores.values() for k in score.pass_at})
    head = ["test set", "rows", "accuracy", "95 % interval", *(f"pass@{k}" for k in ks)]
    head += ["readable", "cut off", *(["to baseline", "95 % interval"] if compared else [])]
    lines = [head]
    for name, score in scores.items():
        line = [name, str(score.rows), *_shown(score.accuracy, "{:.1f}")]
        line += [f"{100 * score.pass_at[k].value:.1f}" if k in score.pass_at else "" for k in ks]
        line += [f"{100 * score.extracted:.1f}", f"{100 * score.cut_off:.1f}"]
        if compared:
            line += _shown(score.difference, "{:+.1f}") if score.difference else ["", ""]
        lines.append(line)
    if len(scores) > 1:
        mean = np.mean([score.accuracy.value for score in scores.values()])
        lines.append(["mean", "", f"{100 * mean:.1f}", *[""] * (len(head) - 3)])
    return columns(lines)


def _shown(estimate: Estimate, form: str) -> list[str]:
    low, high = (form.format(points(bound)) for bound in (estimate.low, estimate.high))
    return [form.format(points(estimate.value)), f"[{low}, {high}]"]
