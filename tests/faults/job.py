"""A small job with the real engine that faults are injected into, and what must hold of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq

from tests.faults.files import in_shared_memory, left_files
from tests.support.small_run import ROOT, small_run

LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
BATCH = 4


def command(
    model: Path, out: Path, name: str, steps: int, staleness: int, *overrides: str
) -> list[str]:
    """The command line of a run whose parties are given up after seconds instead of minutes."""
    return small_run(
        model,
        out,
        name,
        "rollout.chunk_size=2",
        f"training.max_steps={steps}",
        f"training.batch_size={BATCH}",
        f"training.max_staleness={staleness}",
        "training.learning_rate=1e-4",
        "training.save_steps=2",
        "training.max_restarts=1000",
        "training.stream_timeout_s=60",
        "generator.replicas=2",
        "generator.kv_cache_gib=0.125",
        "generator.timeout_s=20",
        "generator.stall_s=10",
        "scorer.timeout_s=10",
        "learner.timeout_s=20",
        "evaluation.rows=8",
        "evaluation.teacher_rows=0",
        "outputs.tensorboard=false",
        *overrides,
    )


def learnable(out: Path) -> list[str]:
    """Settings of a task that the tiny model learns in some dozens of steps: three rollouts of
    four are the references themselves, nearly all of which are alike, and of one character: of a
    longer one a run may learn all but an end that the greedy answer leaves out. All of its weights
    are trained; low-rank changes beside a tied head do not get it there."""
    file = out / "rows.jsonl"
    rows = [
        {"prompt": f"{number}?", "reference": "y" if number % 12 else "n"} for number in range(150)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return [
        "task=custom",
        f"custom.train={file}",
        "custom.test_rows=32",
        "evaluation.rows=32",
        "rollout.gold_share=0.75",
        "objective.cross_entropy.weight=1.0",
        "model.finetune=full",
        "training.learning_rate=3e-3",
    ]


class Job:
    """The processes and files of one run, started again by the same command after it was ended.

    Its temporary files go to a folder of their own.
    """

    def __init__(self, arguments: list[str], path: Path, **environment: str) -> None:
        self.arguments, self.path = arguments, path
        # Short, for the sockets that are made in it.
        self.temporary = Path(tempfile.mkdtemp(prefix="unisd-job-"))
        self.environment = os.environ | {"TMPDIR": str(self.temporary)} | environment
        self.shared_before = in_shared_memory()
        self.seen: dict[int, psutil.Process] = {}
        self.driver: subprocess.Popen[bytes] | None = None
        self.log = path.parent / f"{path.name}.log"

    def start(self) -> None:
        """Run the command in the background; its output is added to ``log``."""
        with self.log.open("ab") as log:
            self.driver = subprocess.Popen(
                self.arguments,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env=self.environment,
                start_new_session=True,
            )

    def processes(self, title: str = "") -> list[psutil.Process]:
        """Descendants of the driver whose title begins with ``title``."""
        assert self.driver is not None
        try:
            found = psutil.Process(self.driver.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        self.seen |= {process.pid: process for process in found}
        return [process for process in found if title_of(process).startswith(title)]

    def lines(self) -> list[dict[str, Any]]:
        """The metrics so far."""
        return read_lines(self.path / "metrics.jsonl")

    def step(self) -> int:
        """The last step that was taken; 0 before the first."""
        lines = self.lines()
        return lines[-1]["step"] if lines else 0

    def wait_for(self, step: int, limit_s: float) -> float:
        """Seconds until ``step`` was taken or the run ended well. Raises TimeoutError; and
        RuntimeError when the run ended badly."""
        began = time.monotonic()
        assert self.driver is not None
        while self.step() < step:
            code = self.driver.poll()
            if code == 0:
                break
            if code is not None:
                raise RuntimeError(f"the run ended with code {code}:\n{self.tail()}")
            if time.monotonic() - began > limit_s:
                raise TimeoutError(f"no step {step} within {limit_s:.0f} s:\n{self.tail()}")
            self.processes()
            time.sleep(0.1)
        return time.monotonic() - began

    def finish(self, limit_s: float) -> None:
        """Wait for the end of the run, which must be a good one."""
        assert self.driver is not None
        code = self.driver.wait(limit_s)
        assert code == 0, f"code {code}:\n{self.tail()}"

    def tail(self) -> str:
        """The end of what the run printed."""
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""

    def listening_beyond_loopback(self) -> list[str]:
        """Sockets of the run that other machines could reach."""
        assert self.driver is not None
        return [
            f"{title_of(process)} {connection.laddr.ip}:{connection.laddr.port}"
            for process in [psutil.Process(self.driver.pid), *self.processes()]
            for connection in process.net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN and connection.laddr.ip not in LOOPBACK
        ]

    def left_behind(self, patience_s: float = 30.0) -> list[str]:
        """Titles of processes of the run that are still there after it, and the files that it has
        left. Where there is none, the folder for temporary files goes too."""
        deadline = time.monotonic() + patience_s
        while True:
            alive = [one for one in self.seen.values() if one.is_running() and _lives(one)]
            left = [f"{one.pid} {title_of(one)}" for one in alive]
            left += left_files(self.shared_before, self.temporary, self.path)
            if not left:
                shutil.rmtree(self.temporary, ignore_errors=True)
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.2)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def title_of(process: psutil.Process) -> str:
    """How a process calls itself; Ray's actors and vLLM's engines do so by their role."""
    try:
        return " ".join(process.cmdline()).strip()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Complete lines of a JSONL file that is being written."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def check(path: Path, steps: int, staleness: int) -> dict[str, Any]:
    """What must hold of every finished run, whatever happened to it; returns its summary."""
    summary = json.loads((path / "summary.json").read_text())
    ledger = summary["ledger"]
    assert ledger["consumed"] == BATCH * steps, ledger
    ended = sum(ledger[name] for name in ("consumed", "filtered", "stale", "failed"))
    assert ledger["admitted"] == ended + ledger["in_flight"], ledger
    assert ledger["failed"] == 0, ledger
    table = pq.read_table(path / "trajectories", columns=["position", "version_first"])
    twice = [p for p, n in Counter(table["position"].to_pylist()).items() if n > 1]
    assert not twice, f"trained twice: {twice}"
    assert table.num_rows == BATCH * steps
    lines = read_lines(path / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(1, steps + 1))
    assert max(line["staleness_max"] for line in lines) <= staleness
    gaps = [line.get("engine_learner_logprob_gap") for line in lines]
    assert max(gap for gap in gaps if gap is not None) < 1e-3, "a replica served other weights"
    assert set(summary["replica_versions"]) == {steps}
    return summary
