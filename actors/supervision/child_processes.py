"""Child processes and files of a process that has ended: they are removed, however it ended.

An engine runs in processes of its own. Ray kills them with the actor that owns them, but only while
the raylet lives: where the command is killed, a hung or stopped engine would stay, with its memory.
Nobody is left either to remove what it had in shared memory and in folders for temporary files.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import psutil

from unisd_core.common import scratch
from unisd_core.common.scratch import SHARED_MEMORY

SCRIPT = """
import os, signal, sys, time
if os.fork():
    os._exit(0)
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from unisd_core.common.scratch import sweep
places, pairs, shared = (words.splitlines() for words in sys.argv[2:])
sys.stdin.read()

def alive(pair):
    pid, started = pair.split(":")
    try:
        with open(f"/proc/{pid}/stat") as file:
            words = file.read().rpartition(")")[2].split()
        # While threads of it go on, one that is a zombie still has its memory and its locks.
        gone = words[0] in "ZX" and len(os.listdir(f"/proc/{pid}/task")) < 2
    except OSError:
        return False
    return words[19] == started and not gone

for pair in pairs[1:]:
    try:
        if alive(pair):
            os.kill(int(pair.split(":")[0]), signal.SIGKILL)
    except OSError:
        pass
deadline = time.monotonic() + 60
while any(map(alive, pairs)) and time.monotonic() < deadline:
    time.sleep(0.05)
for path in shared:
    try:
        os.unlink(path)
    except OSError:
        pass
for place in places:
    sweep(Path(place))
"""
"""Runs in a process that is nobody's child, as Ray kills an actor's children together with it.
Reading ends when the process that holds the other end does, which is the first of the pairs. A
process id may have been given to somebody else since, so it only counts together with its start
time (clock ticks, proc(5)). Locks on scratch folders are held until all of them are gone."""


def clean_up_after(*places: Path) -> IO[bytes] | None:
    """When this process ends, have all its present descendants killed, their named semaphores and
    shared memory removed, and the scratch folders in ``places`` that nobody owns any more. Keep
    what is returned.

    None where there is no /proc; descendants then end as they see fit.
    """
    if not sys.platform.startswith("linux"):
        return None
    own = psutil.Process()
    processes = [own, *own.children(recursive=True)]
    pairs = [f"{one.pid}:{started}" for one in processes if (started := _started(one))]
    shared = _shared_memory(processes)
    root = str(Path(scratch.__file__).parents[2])
    lists = ["\n".join(map(str, words)) for words in (places, pairs, shared)]
    options: dict[str, Any] = {"stdin": subprocess.PIPE, "start_new_session": True}
    command = [sys.executable, "-I", "-S", "-c", SCRIPT, root, *lists]
    cleaner = subprocess.Popen(command, cwd="/", **options)
    cleaner.wait()
    return cleaner.stdin


def _started(process: psutil.Process) -> str | None:
    try:
        with open(f"/proc/{process.pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[19]
    except OSError:  # ended meanwhile
        return None


def _shared_memory(processes: list[psutil.Process]) -> list[Path]:
    """Files in shared memory that Python's multiprocessing has made for ``processes``: it removes
    them in a process of its own, which is killed with the others."""
    mapped: set[int] = set()
    for process in processes:
        try:
            with open(f"/proc/{process.pid}/maps") as file:
                # By inode: a new semaphore is mapped under another name than it is given.
                mapped |= {int(line.split(maxsplit=5)[4]) for line in file if "/dev/shm/" in line}
        except OSError:
            continue
    made = [path for name in ("sem.mp-*", "psm_*") for path in SHARED_MEMORY.glob(name)]
    return [path for path in made if _inode(path) in mapped]


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:  # removed meanwhile
        return None
