"""Whole optimizer steps, ours against TRL's, in turn: python -m tests.benchmarks.step --trl PYTHON

Fixed work W: SmolLM2-135M, LoRA r = 16 on seven projections, float32, 16 rollouts a step, about 100
prompt tokens, 32 sampled tokens, forward KL over the whole vocabulary. W* adds three auxiliary
views, a negative view, feature matching and an average of the student as teacher. PYTHON is that
of an environment with trl 1.16; without it only ours is measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.faults.job import read_lines
from tests.support.small_run import ROOT
from unisd_core.models.fetch import resolve_model

BATCH, TOKENS, WARM_UP, STALENESS = 16, 32, 3, 2
TOPICS = (
    "rivers", "bread", "glass", "chess", "tides", "paper", "bridges", "honey", "clocks", "salt",
)  # fmt: skip
WORK = {
    "W": ["--preset=sdft", "rollout.teacher_share=0"],
    "W*": [
        "--preset=unisd_full", "rollout.teacher_share=0", "views.num_auxiliary=3",
        "scorer.workers=2",
    ],
}  # fmt: skip


@dataclass
class Run:
    """Seconds of each step, peak memory in MiB by process, seconds to the first step."""

    seconds: list[float]
    first_step_s: float
    tokens: float
    memory: dict[int, float] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def write_rows(path: Path) -> None:
    """Questions that are answered at length, of about 100 tokens in the chat template."""
    rows = []
    for number in range(400):
        topic, other = TOPICS[number % 10], TOPICS[number // 10 % 10]
        rows.append(
            {
                "uid": str(number),
                "prompt": (
                    f"Question {number}. Write a long and detailed essay of several paragraphs "
                    f"about the history of {topic}, how people learned to work with {topic}, what "
                    f"{topic} has in common with {other}, and what a visitor to a museum of "
                    f"{topic} should look at first. Do not use lists. Begin at once with the first "
                    "sentence of the essay, and write complete sentences."
                ),
                "reference": (
                    f"The history of {topic} begins long before anybody wrote it down, when people "
                    f"noticed that {topic} could be put to use beside {other}, and number {number} "
                    "tells of it."
                ),
            }
        )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def measured(command: list[str], cwd: Path) -> tuple[subprocess.Popen[str], dict[int, float]]:
    """Start ``command``; the dictionary fills with the peak memory of each of its processes."""
    process = subprocess.Popen(
        command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    peaks: dict[int, float] = {}

    def watch() -> None:
        while process.poll() is None:
            try:
                root = psutil.Process(process.pid)
                for one in [root, *root.children(recursive=True)]:
                    size = one.memory_info().rss / 2**20
                    peaks[one.pid] = max(peaks.get(one.pid, 0.0), size)
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.5)

    threading.Thread(target=watch, daemon=True).start()
    return process, peaks


def ours(name: str, model: Path, rows: Path, out: Path, steps: int, settings: list[str]) -> Run:
    """One run of the pipeline, with more ``settings``; the first steps are left out, and the last,
    beside which nothing is sampled or scored any more."""
    run_name = name.replace("*", "-star")
    command = [
        sys.executable, str(ROOT / "pipelines" / "unisd_full.py"), *WORK[name],
        f"name={run_name}", f"output_dir={out}", f"model.name_or_path={model}", "task=custom",
        f"custom.train={rows}", "custom.test_rows=1", "evaluation.rows=1",
        "evaluation.teacher_rows=0", "generator.kv_cache_gib=0.3",
        f"rollout.max_completion_length={TOKENS}",
        "rollout.temperature=0.9", "views.reference_format=appended",
        f"training.batch_size={BATCH}",
        f"training.max_steps={steps}", "training.save_steps=1000",
        f"training.max_staleness={STALENESS}", "outputs.tensorboard=false", *settings,
    ]  # fmt: skip
    began = time.time()
    process, memory = measured(command, out)
    process.communicate()
    assert process.returncode == 0, f"the run ended with {process.returncode}"
    lines = read_lines(out / run_name / "metrics.jsonl")
    times = [line["unix_time"] for line in lines]
    seconds = [b - a for a, b in zip(times, times[1:], strict=False)]
    seconds = seconds[WARM_UP:-STALENESS]
    tokens = statistics.mean(line["completion_tokens_mean"] for line in lines)
    return Run(seconds, times[0] - began, tokens, memory)


def trl(python: str, model: Path, rows: Path, out: Path, steps: int) -> Run:
    """One run of TRL's trainer; its first step is left out."""
    script = str(Path(__file__).with_name("trl_step.py"))
    began = time.time()
    process, memory = measured([python, script, str(model), str(rows), str(steps)], out)
    seconds, first = [], 0.0
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith('{"seconds"'):
            first = first or time.time() - began
            seconds.append(json.loads(line)["seconds"])
    assert process.wait() == 0, "TRL's run failed"
    return Run(seconds[1:], first, TOKENS, memory)


def main() -> None:
    """Print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trl", help="python of an environment with trl")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--work", default="W,W*")
    parser.add_argument("settings", nargs="*", help="of our runs, as scorer.threads=1")
    args = parser.parse_args()
    out = Path(tempfile.mkdtemp(prefix="unisd-step-"))
    rows, model = out / "rows.jsonl", Path(resolve_model("HuggingFaceTB/SmolLM2-135M-Instruct"))
    write_rows(rows)
    runs: dict[str, Run] = {}
    if args.trl:
        runs["TRL W"] = trl(args.trl, model, rows, out, max(4, args.steps // 2))
    for name in args.work.split(","):
        runs[name] = ours(name, model, rows, out, args.steps, args.settings)
    if args.trl:  # before and after ours, because machines drift
        again = trl(args.trl, model, rows, out, max(4, args.steps // 2))
        runs["TRL W"].seconds += again.seconds
    print("| work | step s | against TRL W | tokens a row | first step s | largest process MiB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    base = runs["TRL W"].median if "TRL W" in runs else float("nan")
    for name, run in runs.items():
        print(
            f"| {name} | {run.median:.1f} [{min(run.seconds):.1f}, {max(run.seconds):.1f}] "
            f"| {run.median / base:.2f} | {run.tokens:.1f} | {run.first_step_s:.0f} "
            f"| {max(run.memory.values()):.0f} |"
        )


if __name__ == "__main__":
    main()
