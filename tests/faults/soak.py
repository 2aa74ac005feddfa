"""A long run that must not grow: python -m tests.faults.soak

Samples memory, file handles and threads of every process of the run, and the object store, while a
tiny model takes hundreds of steps; fits a line to each after the warm-up and prints its slope.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import psutil

# As the job's own Ray: with a token, on loopback. Read when ray is imported.
os.environ.setdefault("RAY_AUTH_MODE", "token")
import actors  # noqa: E402, F401

# isort: split
import ray  # noqa: E402

from tests.faults.job import Job, check, command, title_of  # noqa: E402
from tests.support.tiny import make_tiny_model  # noqa: E402

STALENESS = 2
WARM_UP = 0.3
"""Share of the steps before which growth is not counted: caches fill, replicas compile."""
LARGEST_GROWTH = 0.05
"""Growth from the end of the warm-up to the end that still counts as flat, as a share of the mean;
the clock of the machine and the allocator's arenas move figures by about this much."""

Samples = dict[tuple[str, str], list[tuple[int, float]]]
"""(role, quantity) to (step, value)."""


def role_of(process: psutil.Process) -> str | None:
    """The part a process plays; None for those that come and go."""
    title = title_of(process)
    for prefix in (
        "ray::GeneratorReplica", "ray::RayTrainWorker", "ray::MapWorker(MapBatches(Score))",
        "ray::MapWorker(MapBatches(Generate))", "ray::MapWorker(MapBatches(Agree))", "ray::Gate",
        "ray::WeightStore", "ray::GeneratorPool", "ray::Watchdog", "VLLM::EngineCore",
        "ray::TrainController", "ray::SplitCoordinator",
    ):  # fmt: skip
        if title.startswith(prefix):
            return prefix.removeprefix("ray::")
    if "/raylet/raylet" in title.split(" ")[0]:
        return "raylet"
    return "gcs" if "gcs_server" in title.split(" ")[0] else None


def cluster_of(job: Job) -> str:
    """Address of the job's own Ray; another one may have left its address as the newest."""
    flag = "--gcs-address="
    titles = (title_of(process) for process in job.processes())
    return next(
        word.removeprefix(flag)
        for title in titles
        for word in title.split()
        if word.startswith(flag)
    )


def sample(job: Job, samples: Samples) -> None:
    """One look at every process."""
    assert job.driver is not None
    step = job.step()
    sums: dict[tuple[str, str], float] = defaultdict(float)
    for process in [psutil.Process(job.driver.pid), *job.processes()]:
        role = "driver" if process.pid == job.driver.pid else role_of(process)
        if role is None:
            continue
        try:
            with process.oneshot():
                sums[role, "MiB"] += process.memory_info().rss / 2**20
                sums[role, "handles"] += process.num_fds()
                sums[role, "threads"] += process.num_threads()
        except psutil.NoSuchProcess:
            continue
    total, free = ray.cluster_resources(), ray.available_resources()
    used = total["object_store_memory"] - free.get("object_store_memory", 0.0)
    sums["object store", "MiB"] = used / 2**20
    disk = sum(file.stat().st_size for file in job.path.rglob("checkpoints/**/*") if file.is_file())
    sums["checkpoints on disk", "MiB"] = disk / 2**20
    for key, value in sums.items():
        samples[key].append((step, value))


def growth(points: list[tuple[int, float]], steps: int) -> tuple[float, float, float]:
    """Mean, slope per 100 steps, and growth over the counted part as a share of the mean."""
    counted = np.array([point for point in points if point[0] >= WARM_UP * steps])
    slope = float(np.polyfit(counted[:, 0], counted[:, 1], 1)[0])
    mean = float(counted[:, 1].mean())
    return mean, 100 * slope, slope * steps * (1 - WARM_UP) / max(mean, 1e-9)


def main() -> int:
    """Run it, print the table; 1 when something grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--transport", default="adapter", choices=["adapter", "merged"])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="unisd-soak-"))
    out.mkdir(parents=True, exist_ok=True)
    model = make_tiny_model(out / "model")
    options = ("generator.replicas=1", f"generator.transport={args.transport}")
    job = Job(command(model, out, "soak", args.steps, STALENESS, *options), out / "soak")
    job.start()
    job.wait_for(1, 300)
    ray.init(cluster_of(job), log_to_driver=False, logging_level="ERROR")
    samples: Samples = defaultdict(list)
    while job.step() < args.steps and job.driver is not None and job.driver.poll() is None:
        sample(job, samples)
        time.sleep(1.0)
    ray.shutdown()
    job.finish(600)
    check(out / "soak", args.steps, STALENESS)
    (out / "samples.json").write_text(
        json.dumps({f"{role}, {what}": points for (role, what), points in samples.items()})
    )
    grew = False
    print("| process | what | mean | per 100 steps | whole |\n| --- | --- | ---: | ---: | ---: |")
    for (role, what), points in sorted(samples.items()):
        mean, slope, share = growth(points, args.steps)
        grew |= share > LARGEST_GROWTH and slope * args.steps / 100 > 1.0
        print(f"| {role} | {what} | {mean:.1f} | {slope:+.2f} | {100 * share:+.1f} % |")
    left = job.left_behind() or "nothing"
    print(f"left behind: {left}; {'something grew' if grew else 'flat'}; {out}")
    return int(grew)


if __name__ == "__main__":
    sys.exit(main())
