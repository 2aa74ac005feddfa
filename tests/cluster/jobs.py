"""A run as a Ray job on two nodes, stopped and resumed: python -m tests.cluster.jobs

Two raylets on this machine, each too small for a whole run, so that its stages must spread, and a
token as on a real cluster. The second job is stopped in mid-run and submitted again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from tests.faults.job import check, read_lines, title_of
from tests.support.small_run import ROOT, small_run
from tests.support.tiny import make_tiny_model

RAY = [str(Path(sys.executable).with_name("ray"))]
PORT, DASHBOARD = 6479, 8275
URL = f"http://127.0.0.1:{DASHBOARD}"
STEPS, STALENESS, LIMIT_S = 12, 2, 600.0
ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_JOB_STOP_WAIT_TIME_S": "130",
    "RAY_DISABLE_USAGE_STATS": "1",
}
STAGES = {
    "generator": "ray::GeneratorReplica",
    "scorer": "ray::MapWorker(MapBatches(Score))",
    "learner": "ray::RayTrainWorker",
}


def ray(*arguments: str) -> str:
    """Output of the command line tool. Raises RuntimeError with it."""
    done = subprocess.run(
        [*RAY, *arguments], env=os.environ | ENVIRONMENT, cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT_S,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(
            f"ray {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}"
        )
    return done.stdout


def start_nodes() -> None:
    """A head and one more node, of one CPU each."""
    subprocess.run([*RAY, "get-auth-token", "--generate"], check=True, stdout=subprocess.DEVNULL)
    node = ("--num-cpus=1", "--disable-usage-stats")
    ray("start", "--head", f"--port={PORT}", "--dashboard-host=127.0.0.1",
        f"--dashboard-port={DASHBOARD}", *node)  # fmt: skip
    ray("start", f"--address=127.0.0.1:{PORT}", *node)


def submit(name: str, command: list[str]) -> None:
    """Give the job to the cluster."""
    ray("job", "submit", "--address", URL, "--submission-id", name, "--no-wait",
        "--working-dir", ".", "--", *command)  # fmt: skip


def status(name: str) -> str:
    """SUCCEEDED, RUNNING and so on, as the last line says."""
    return ray("job", "status", "--address", URL, name)


def wait_ended(name: str) -> str:
    """What ``status`` says once the job has ended."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        said = status(name)
        if any(word in said.lower() for word in ("succeeded", "failed", "stopped")):
            return said
        time.sleep(2)
    raise TimeoutError(f"job {name} has not ended within {LIMIT_S:.0f} s")


def nodes_of_stages() -> dict[str, Counter[int]]:
    """For each stage, how many of its actors run below which raylet (by process id)."""
    found: dict[str, Counter[int]] = {stage: Counter() for stage in STAGES}
    for raylet in psutil.process_iter():
        if "/raylet/raylet" not in title_of(raylet).split(" ")[0]:
            continue
        for process in raylet.children(recursive=True):
            for stage, title in STAGES.items():
                found[stage][raylet.pid] += title_of(process).startswith(title)
    return found


def wait_for_step(path: Path, step: int) -> None:
    """Until the run has taken ``step``."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        lines = read_lines(path / "metrics.jsonl")
        if lines and lines[-1]["step"] >= step:
            return
        time.sleep(0.2)
    raise TimeoutError(f"{path.name} has not taken step {step} within {LIMIT_S:.0f} s")


def command(model: Path, out: Path, name: str) -> list[str]:
    """The run, which needs more than one node has."""
    return small_run(
        model, out, name, "rollout.chunk_size=2", f"training.max_steps={STEPS}",
        "training.batch_size=4",
        f"training.max_staleness={STALENESS}", "training.save_steps=2", "evaluation.rows=8",
        "evaluation.teacher_rows=0", "generator.replicas=2", "generator.cpus=0.4",
        "generator.placement=spread", "generator.kv_cache_gib=0.125", "scorer.cpus=0.4",
        "learner.cpus=0.4",
    )  # fmt: skip


def relative(command: list[str]) -> list[str]:
    """The script as the unpacked working directory has it."""
    return [part.removeprefix(f"{ROOT}/") if part.endswith(".py") else part for part in command]


def main() -> int:
    """Run it; raises where something is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    out = parser.parse_args().out or Path(tempfile.mkdtemp(prefix="unisd-jobs-"))
    out.mkdir(parents=True, exist_ok=True)
    model = make_tiny_model(out / "model")
    try:
        start_nodes()
        began = time.monotonic()
        submit("whole", relative(command(model, out, "whole")))
        wait_for_step(out / "whole", 2)
        spread = nodes_of_stages()
        print(f"actors by raylet: { {stage: dict(c) for stage, c in spread.items()} }", flush=True)
        assert len(spread["generator"]) == 2, "both nodes have a replica"
        assert "succeeded" in wait_ended("whole").lower(), status("whole")
        check(out / "whole", STEPS, STALENESS)
        logs = ray("job", "logs", "--address", URL, "whole")
        lines = [line for line in logs.splitlines() if "step" in line]
        print(f"job ended well after {time.monotonic() - began:.0f} s; its log says", flush=True)
        print("\n".join(lines[-2:]))

        submit("stopped", relative(command(model, out, "resumed")))
        wait_for_step(out / "resumed", 5)
        ray("job", "stop", "--address", URL, "stopped")
        assert "stopped" in wait_ended("stopped").lower()
        at = read_lines(out / "resumed" / "metrics.jsonl")[-1]["step"]
        said = ray("job", "logs", "--address", URL, "stopped").splitlines()[-1]
        print(f"stopped at step {at}: {said}", flush=True)
        submit("again", relative(command(model, out, "resumed")))
        assert "succeeded" in wait_ended("again").lower(), status("again")
        check(out / "resumed", STEPS, STALENESS)
        logs = ray("job", "logs", "--address", URL, "again")
        print(next(line for line in logs.splitlines() if "go on from step" in line))
    finally:
        ray("stop")
    print(f"both finished; {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
