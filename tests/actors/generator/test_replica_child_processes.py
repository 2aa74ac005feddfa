"""Processes that an actor has started end with it, also stopped ones: those of an engine hold
memory that the next replica needs. Ray has each actor lead a process group of its own for that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest
import ray

CHILD = """
import subprocess, sys, time
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid, flush=True)
time.sleep(600)
"""


class Parent:
    """An actor with a child and a grandchild."""

    def start(self) -> list[int]:
        """Process ids of the actor, its child and its grandchild."""
        command = [sys.executable, "-c", CHILD]
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.child.stdout is not None
        return [os.getpid(), self.child.pid, int(self.child.stdout.readline())]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.skipif(sys.platform == "win32", reason="needs process groups")
@pytest.mark.parametrize("stopped", [False, True])
def test_children_do_not_outlive_a_killed_actor(cluster: None, stopped: bool) -> None:
    parent = ray.remote(Parent).options(num_cpus=0).remote()
    family = [psutil.Process(pid) for pid in ray.get(parent.start.remote(), timeout=60)]
    if stopped:
        for process in family[1:]:
            process.send_signal(signal.SIGSTOP)
    family[0].kill()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
