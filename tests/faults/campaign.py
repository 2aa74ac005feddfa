"""Faults at random times and places, one after the other: python -m tests.faults.campaign

Each run of the campaign is one job that has to survive a list of faults drawn from its seed, with
settings drawn from it too; the results go to a JSONL file, a line per fault, and the table of
docs/reliability.md is made of them.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.faults.job import Job, check, command, learnable
from tests.faults.kinds import KINDS
from tests.faults.settings import settings_of
from tests.support.tiny import make_tiny_model

RECOVERY_S = 300.0
"""A run that has not recovered this long after a fault hangs."""
STALENESS = 2
LARGEST_LOSS = 0.125
"""By how much a run with faults may end below one without: four of its 32 test rows. What a run of
an asynchronous loop ends at is not the same twice."""


@dataclass(frozen=True)
class Injected:
    """One fault: its kind, what exactly was done, the step it hit, and the seconds until nothing
    was left of what was in flight then, staleness + 2 steps later."""

    seed: int
    kind: str
    did: str
    step: int
    seconds: float


def schedule(seed: int, count: int) -> list[str]:
    """``count`` kinds in a random order, every kind once before one comes again."""
    rng = random.Random(seed)
    kinds: list[str] = []
    while len(kinds) < count:
        kinds += rng.sample(sorted(KINDS), len(KINDS))
    return kinds[:count]


def steps_for(faults: int, staleness: int) -> int:
    """Steps of a run that meets so many faults, one after the other."""
    return 5 * (staleness + 1) * faults // 2 + 4


def run_faults(
    seed: int, kinds: list[str], model: Path, out: Path, staleness: int, *overrides: str
) -> list[Injected]:
    """One job that meets ``kinds`` and must end as if nothing had happened. Raises AssertionError,
    TimeoutError or RuntimeError when it does not."""
    rng = random.Random(f"faults/{seed}")
    steps, further = steps_for(len(kinds), staleness), staleness + 2
    name = f"seed-{seed}"
    # On CPU there is no engine to be hit beside its replica, unless it has a process of its own.
    own = any(kind.startswith("engine") for kind in kinds)
    overrides += (f"generator.own_process={str(own).lower()}",)
    job = Job(command(model, out, name, steps, staleness, *overrides), out / name)
    job.start()
    results = []
    job.wait_for(2, RECOVERY_S)
    for kind in kinds:
        time.sleep(rng.uniform(0, 2))
        did = _inject(job, kind, rng)
        hit, began = job.step(), time.monotonic()
        if KINDS[kind].restart:
            job.start()
        job.wait_for(hit + further, RECOVERY_S)
        results.append(Injected(seed, kind, did, hit, round(time.monotonic() - began, 1)))
        print(f"  {kind}: {results[-1].seconds} s ({did} at step {hit})", flush=True)
    job.finish(RECOVERY_S + 5.0 * steps)
    check(out / name, steps, staleness)
    left = job.left_behind()
    assert not left, f"left behind: {left}"
    return results


def undisturbed(faults: int, model: Path, out: Path, *options: str) -> float:
    """Accuracy of a run as long as one with so many faults; it may have been done before."""
    steps, path = steps_for(faults, STALENESS), out / "undisturbed"
    if not (path / "summary.json").exists():
        job = Job(command(model, out, path.name, steps, STALENESS, *options), path)
        job.start()
        job.finish(RECOVERY_S + 5.0 * steps)
        left = job.left_behind()
        assert not left, f"left behind: {left}"
    check(path, steps, STALENESS)
    return accuracy(path)


def accuracy(path: Path) -> float:
    """Share of the test rows that a finished run answers right."""
    summary = json.loads((path / "summary.json").read_text(encoding="utf-8"))
    return summary["accuracy"]["custom_test"]["final"]


def _inject(job: Job, kind: str, rng: random.Random) -> str:
    """Victims may just be being replaced; then the fault waits for the next one."""
    deadline = time.monotonic() + RECOVERY_S
    while True:
        try:
            return KINDS[kind].inject(job, rng)
        except (LookupError, ProcessLookupError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def table(results: list[Injected]) -> str:
    """Kinds, counts and seconds to recover as Markdown."""
    lines = ["| fault | times | median s | slowest s |", "| --- | ---: | ---: | ---: |"]
    for kind in KINDS:
        seconds = [one.seconds for one in results if one.kind == kind]
        if seconds:
            median = statistics.median(seconds)
            lines.append(f"| {kind} | {len(seconds)} | {median:.0f} | {max(seconds):.0f} |")
    every = [one.seconds for one in results]
    lines.append(f"| all | {len(every)} | {statistics.median(every):.0f} | {max(every):.0f} |")
    return "\n".join(lines)


def main() -> int:
    """Run the campaign and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2,3,4", help="one run each")
    parser.add_argument("--faults", type=int, default=13, help="faults in a run")
    parser.add_argument("--kinds", help="these kinds instead of random ones, comma separated")
    parser.add_argument("--out", type=Path, help="folder for runs and results")
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="unisd-faults-"))
    out.mkdir(parents=True, exist_ok=True)
    model, options = make_tiny_model(out / "model"), learnable(out)
    kinds = args.kinds.split(",") if args.kinds else None
    whole = undisturbed(len(kinds) if kinds else args.faults, model, out, *options)
    print(f"undisturbed: {whole:.0%} of the test rows", flush=True)
    assert whole > 0.5, "the task was not learned, so nothing can be compared"
    for seed in map(int, args.seeds.split(",")):
        planned = kinds or schedule(seed, args.faults)
        settings = settings_of(seed)
        print(f"seed {seed}: {len(planned)} faults; {' '.join(settings.overrides)}", flush=True)
        results = run_faults(seed, planned, model, out, STALENESS, *options, *settings.overrides)
        with (out / "faults.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(one)) + "\n" for one in results)
        reached = accuracy(out / f"seed-{seed}")
        print(f"seed {seed}: {reached:.0%} of the test rows", flush=True)
        assert not settings.learns or reached >= whole - LARGEST_LOSS
    lines = (out / "faults.jsonl").read_text(encoding="utf-8").splitlines()
    print(f"\n{table([Injected(**json.loads(line)) for line in lines])}\n\n{out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
