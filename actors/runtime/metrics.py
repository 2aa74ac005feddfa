"""Metrics of a run for Prometheus: all of them in one table, set by one-line calls.

Ray exports them with the prefix ``ray_`` and the labels of the process (node, worker); counters end
in ``_total``. Outside of Ray a call only checks the name. ``cluster/grafana.json`` draws them.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Literal

import ray
from ray.util import metrics

PREFIX = "unisd_"


@dataclass(frozen=True)
class Instrument:
    """A metric: its kind, unit and meaning, the labels of its own, and a histogram's bounds."""

    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)

INSTRUMENTS = {
    "sampled_tokens": Instrument("counter", "tokens", "Sampled by replicas, for any purpose"),
    "scored_tokens": Instrument("counter", "tokens", "Completion tokens the scorers have read"),
    "trained_tokens": Instrument("counter", "tokens", "Completion tokens of optimizer steps"),
    "rollouts": Instrument(
        "gauge", "rollouts", "Visits in the ledger, by what became of them", ("state",)
    ),
    "rollouts_generating": Instrument(
        "gauge", "rollouts", "In flight and not yet weighted: being sampled or scored"
    ),
    "slots_waiting": Instrument("gauge", "slots", "Slots of the stream that wait for room"),
    "policy_version": Instrument("gauge", "version", "Optimizer steps the gate has accounted"),
    "staleness_mean": Instrument("gauge", "versions", "Mean age of the rows of the last step"),
    "staleness_max": Instrument("gauge", "versions", "Greatest age of a row of the last step"),
    "push_seconds": Instrument(
        "histogram", "seconds", "From the start of a push to its last replica", (), SECONDS
    ),
    "pushed_bytes": Instrument("counter", "bytes", "Trained weights handed to the pool"),
    "learner_idle_seconds": Instrument("counter", "seconds", "First learner, without a batch"),
    "learner_busy_seconds": Instrument("counter", "seconds", "First learner, at its steps"),
    "replicas_ready": Instrument("gauge", "replicas", "Replicas that may be given requests"),
    "incidents": Instrument("counter", "incidents", "Losses and replacements on record"),
}  # fmt: skip
"""By name, without ``PREFIX``."""


def record(name: str, value: float, **labels: str) -> None:
    """Add ``value`` to the counter ``name``, set the gauge, or observe it in the histogram.

    Raises KeyError for a name that is not in ``INSTRUMENTS``. Does nothing where Ray is not
    running, and for a counter that nothing is added to.
    """
    kind = INSTRUMENTS[name].kind
    if not ray.is_initialized() or (kind == "counter" and value <= 0):
        return
    metric = _metric(name)
    update = {"counter": "inc", "gauge": "set", "histogram": "observe"}[kind]
    getattr(metric, update)(float(value), labels)


@functools.cache
def _metric(name: str) -> Any:
    declared = INSTRUMENTS[name]
    described = (f"{PREFIX}{name}", f"{declared.help} ({declared.unit})")
    if declared.kind == "histogram":
        return metrics.Histogram(*described, list(declared.bounds), declared.labels)
    kind = metrics.Counter if declared.kind == "counter" else metrics.Gauge
    return kind(*described, declared.labels)


def exported_names() -> set[str]:
    """Names under which Prometheus finds the metrics."""
    suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    return {
        f"ray_{PREFIX}{name}{suffix}"
        for name, declared in INSTRUMENTS.items()
        for suffix in suffixes[declared.kind]
    }
