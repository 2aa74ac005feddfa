"""The pool grows and shrinks with the work: python -m tests.benchmarks.elastic

Engines sleep. The learner is fast at first and waits for rows, so replicas join; then it is slow
and the generators wait, so they leave. Prints who came and went and why, and the step times.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from actors.runtime.ray_session import connect
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
    print(f"replicas by step: {done.replicas}")
    print(f"step seconds: {[round(step, 1) for step in done.step_s]}")
    floor = WORK.batch / WORK.places * WORK.tokens * WORK.token_s
    print(f"a step of one replica takes {floor:.2f} s, of {WORK.most} {floor / WORK.most:.2f} s")
    assert done.ledger["consumed"] == WORK.batch * WORK.steps, done.ledger
    assert max(done.replicas) == WORK.most and done.replicas[-1] < WORK.most
    assert done.staleness_max <= WORK.staleness


if __name__ == "__main__":
    main()
