"""The pool grows and shrinks with the work: python -m tests.benchmarks.elastic

Engines sleep. The learner is fast at first and waits for rows, so replicas join; then it is slow
and the generators wait, so they leave. Prints who came and went and why, and the step times.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from actors.fleet import connect
from tests.benchmarks.sleeping import Workload, run

WORK = Workload(
    replicas=1, most=4, batch=32, steps=60, token_s=0.03, learn_s=0.1, late_learn_s=4.0,
    adapter_bytes=2_000_000,
)  # fmt: skip


def main() -> None:
    """Run it and print what happened."""
    connect(WORK.config())
    folder = Path(tempfile.mkdtemp(prefix="unisd-elastic-")) / "run"
    done = run(WORK, folder, warm_up=1)
    for incident in done.incidents:
        print(incident)
    half = WORK.steps // 2
    print(f"replicas by step: {done.replicas}")
    for name, part in (
        ("first", done.step_s[:4]),
        ("last of the fast", done.step_s[half - 6 : half - 2]),
    ):
        print(f"{name} steps: {statistics.median(part):.2f} s")
    assert done.ledger["consumed"] == WORK.batch * WORK.steps, done.ledger
    assert max(done.replicas) == WORK.most and done.replicas[-1] < WORK.most
    assert done.staleness_max <= WORK.staleness


if __name__ == "__main__":
    main()
