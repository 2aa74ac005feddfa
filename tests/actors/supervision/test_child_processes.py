"""Children and files of a killed process go too, also where the children are stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

PARENT = """
import multiprocessing, subprocess, sys, time
from pathlib import Path
from actors.supervision.child_processes import clean_up_after
from unisd_core.common.scratch import scratch_folder
place = Path(sys.argv[1])
shared = multiprocessing.get_context("spawn").Lock()  # its name stays until it is unlinked
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
kept = clean_up_after(place)
with scratch_folder(place) as folder:
    (folder / "weights").touch()
    print(child.pid, shared._semlock.name, folder, flush=True)
    time.sleep(600)
"""

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


def wait_until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("with_children", [False, True])
def test_nothing_outlives_a_killed_process(
    tmp_path: Path, stopped: bool, with_children: bool
) -> None:
    place = tmp_path / "a place"
    place.mkdir()
    command = [sys.executable, "-c", PARENT, str(place)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid, name, folder = parent.stdout.readline().split(maxsplit=2)
    semaphore = Path(f"/dev/shm/sem.{name.removeprefix('/')}")
    assert semaphore.exists() and Path(folder.strip()).exists()
    child = psutil.Process(int(pid))
    children = psutil.Process(parent.pid).children(recursive=True)
    if stopped:
        os.kill(child.pid, signal.SIGSTOP)
    if with_children:  # as Ray ends an actor
        for one in children:
            one.kill()
    parent.kill()
    parent.wait()
    wait_until(lambda: gone(child), "the child is still there")
    wait_until(lambda: not any(place.iterdir()), "its files are still there")
    wait_until(lambda: not semaphore.exists(), "its semaphore is still there")


def test_what_cleans_up_does_not_stay(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        cleaners = [one for one in psutil.process_iter(["cmdline"]) if _cleans(one, tmp_path)]
        assert cleaners, "it is there while the process is"
        parent.kill()
    wait_until(lambda: all(map(gone, cleaners)), "it is still there")


def _cleans(process: psutil.Process, place: Path) -> bool:
    words = process.info["cmdline"] or []
    return "-S" in words and str(place) in words
