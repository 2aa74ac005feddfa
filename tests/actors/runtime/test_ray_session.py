"""Ray as a run starts it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

TASK = """
from unisd_core import AnswerScore, Row, Task

class Riddles(Task):
    name = "riddles"
    def rows(self, split):
        return [Row("What has hands and cannot clap?", "A clock.")]
    def score(self, row, completion):
        return AnswerScore(completion == row.reference, bool(completion))
"""

RUN = """
import ray
from actors.runtime.ray_session import connect
from unisd_core import Config, load_task

config = Config(task="my_tasks:Riddles")
connect(config)

@ray.remote(num_cpus=0.1)
def first_reference():
    return load_task(config.task).rows("train")[0].reference

assert ray.get(first_reference.remote(), timeout=120) == "A clock."
"""


@pytest.mark.slow
def test_workers_find_a_task_of_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "my_tasks.py").write_text(TASK)
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "run.py").write_text(RUN)
    command = [sys.executable, "scripts/run.py"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(command, check=True, cwd=tmp_path, env=environment, timeout=300)


SPILL = """
import os, signal, sys
import numpy as np
import ray
from actors.runtime import ray_session
from unisd_core import Config

ray_session._import_models = lambda: None  # takes longer than the rest
init = ray.init
ray.init = lambda **given: init(**given, object_store_memory=2**27)
ray_session.connect(Config())
kept = [ray.put(np.zeros(2**24, np.uint8)) for _ in range(12)]
assert all(len(ray.get(one)) for one in kept)
if sys.argv[1:] == ["killed"]:
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_objects_that_a_killed_run_has_spilled_are_removed_by_the_next(tmp_path: Path) -> None:
    temporary = Path(tempfile.mkdtemp(prefix="unisd-", dir="/tmp"))  # short, for Ray's sockets
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
    command = [sys.executable, "-c", SPILL]

    def spilled() -> list[Path]:
        return [path for path in temporary.rglob("ray_spilled_objects*/*") if path.is_file()]

    try:
        subprocess.run([*command, "killed"], cwd=tmp_path, env=environment, timeout=300)
        assert spilled(), "nothing was spilled"
        subprocess.run(command, check=True, cwd=tmp_path, env=environment, timeout=300)
        assert not spilled() and not list(temporary.glob("unisd-scratch-*"))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
