"""Cost of the loop itself, with engines that sleep: python -m tests.benchmarks.orchestration

Step time against the floor for 1 to 64 replicas, admissions per second of the gate, and the push of
an adapter to 64 replicas.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import ray

from actors.admission.gate import Gate, GateClient
from actors.runtime.calls import coordinator_actor
from actors.runtime.ray_session import connect
from actors.supervision.watchdog import WatchdogClient
from tests.benchmarks.sleeping import Workload, run
from unisd_core.common.visits import Visit

REPLICAS = (1, 4, 16, 64)
ADMISSIONS = 20_000
UNDER_WAY = 192
GATE_CHUNKS = (1, 8)


def scale(
    replicas: int, folder: Path, adapter_bytes: int, staleness: int, token_s: float, steps: int
) -> str:
    """A line of the table: every replica always has one chunk to sample, which is the floor."""
    work = Workload(
        replicas=replicas,
        token_s=token_s,
        steps=steps,
        batch=8 * replicas,
        scorers=max(1, replicas // 8),
        adapter_bytes=adapter_bytes,
        staleness=staleness,
    )
    floor = work.tokens * work.token_s
    done = run(work, folder / f"replicas-{replicas}")
    step, push = statistics.median(done.step_s), statistics.median(done.push_s)
    assert done.ledger["consumed"] == work.batch * work.steps
    assert done.staleness_max <= work.staleness
    return (
        f"| {replicas} | {work.batch} | {floor:.2f} | {step:.2f} "
        f"[{min(done.step_s):.2f}, {max(done.step_s):.2f}] | {floor / step:.0%} "
        f"| {push:.2f} [{min(done.push_s):.2f}, {max(done.push_s):.2f}] |"
    )


async def _admissions(chunk: int) -> float:
    """Rows a second through admit, arrive and consume, with as many calls under way as a stream
    of 64 replicas has."""
    batch = 64
    steps = ADMISSIONS // batch
    uids = [str(row) for row in range(1000)]
    actor = coordinator_actor(Gate, f"gate-{chunk}")
    gate = GateClient(actor.remote(len(uids), batch, steps, steps, 0, WatchdogClient("watchdog")))
    stream = await gate.open_stream.remote(uids)
    numbers = iter(range(steps * batch // chunk))
    began = time.perf_counter()

    async def slots() -> list[Visit]:
        done: list[Visit] = []
        for number in numbers:
            admitted = await gate.admit.remote(stream, number, chunk)
            versions = {admission.visit: admission.min_version for admission in admitted}
            await gate.arrive.remote(versions, {})
            done += versions
        return done

    slots_done = await asyncio.gather(*(slots() for _ in range(UNDER_WAY)))
    visits = sorted(visit for rows in slots_done for visit in rows)
    for step in range(steps):
        await gate.consume.remote(visits[step * batch : (step + 1) * batch])
    seconds = time.perf_counter() - began
    ray.kill(gate.handle)
    return steps * batch / seconds


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", default=",".join(map(str, REPLICAS)))
    parser.add_argument("--adapter-mb", type=float, default=50)
    parser.add_argument("--staleness", type=int, default=2)
    parser.add_argument("--token-s", type=float, default=Workload.token_s)
    parser.add_argument("--steps", type=int, default=Workload.steps)
    parser.add_argument("--no-gate", action="store_true", help="leave out the gate alone")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="unisd-orchestration-"))
    connect(Workload().config())
    for chunk in () if args.no_gate else GATE_CHUNKS:
        rates = [asyncio.run(_admissions(chunk)) for _ in range(3)]
        print(
            f"gate: {statistics.median(rates):,.0f} rows/s admitted, arrived and consumed in "
            f"chunks of {chunk} [{min(rates):,.0f}, {max(rates):,.0f}]",
            flush=True,
        )
    print("| replicas | batch | floor s | step s | efficiency | push s |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for replicas in map(int, filter(None, args.replicas.split(","))):
        adapter_bytes = int(args.adapter_mb * 1e6)
        line = scale(replicas, out, adapter_bytes, args.staleness, args.token_s, args.steps)
        print(line, flush=True)


if __name__ == "__main__":
    main()
