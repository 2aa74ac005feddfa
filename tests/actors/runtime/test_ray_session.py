"""Ray as a run starts it."""

from __future__ import annotations

import os
import subprocess
import sys
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
