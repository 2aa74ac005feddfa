"""Gain of generating ahead when lengths have a long tail: python -m tests.benchmarks.asynchrony

Engines sleep by a log-normal distribution of lengths (sigma 1). Steps a second at staleness limits
0 to 4 against the synchronous loop (limit 0) and against engines that are never idle; and whether
what is trained on is as long as what was admitted.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from actors.runtime.ray_session import connect
from tests.benchmarks.sleeping import Workload, run

WORK = Workload(
    replicas=4, batch=32, chunk=4, places=8, tokens=32, sigma=1.0, token_s=0.02, learn_s=0.3,
    score_s=0.02, adapter_bytes=10_000_000, steps=40,
)  # fmt: skip
LIMITS = (0, 1, 2, 4)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=WORK.steps)
    args = parser.parse_args()
    connect(WORK.config())
    out = Path(tempfile.mkdtemp(prefix="unisd-asynchrony-"))
    synchronous = None
    print("| limit | step s | against limit 0 | engines busy | mean length trained / admitted |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for limit in LIMITS:
        # One chunk is the whole batch where requests have to start together.
        chunk = WORK.batch // WORK.replicas if limit == 0 else WORK.chunk
        work = replace(WORK, staleness=limit, steps=args.steps, chunk=chunk)
        done = run(work, out / f"limit-{limit}")
        step = statistics.mean(done.step_s)
        synchronous = synchronous or step
        # Rows are trained on in the order of admission, so these are the first positions.
        admitted = [work.length(f"{position}/0") for position in range(len(done.lengths))]
        seconds = work.token_s * float(np.mean(admitted)) * work.batch
        busy = seconds / (work.replicas * work.places) / step
        bias = statistics.mean(done.lengths) / statistics.mean(admitted)
        assert sorted(done.lengths) == sorted(admitted), "rows were preferred by their length"
        print(
            f"| {limit} | {step:.2f} [{min(done.step_s):.2f}, {max(done.step_s):.2f}] "
            f"| {synchronous / step:.2f} x | {busy:.0%} | {bias:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
