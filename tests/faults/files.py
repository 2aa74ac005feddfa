"""Files that a run leaves behind: in shared memory, among temporary files, half written ones."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

SHARED_MEMORY = Path("/dev/shm")
KEPT = ("ray", "torchinductor_")
"""Beginnings of names among temporary files that are meant to stay: Ray's logs, compiled code."""


def in_shared_memory() -> set[Path]:
    """What is there now, of anybody."""
    return set(SHARED_MEMORY.iterdir()) if SHARED_MEMORY.is_dir() else set()


def left_files(before: set[Path], temporary: Path, run: Path) -> list[str]:
    """Files that nobody will remove: those in shared memory that were not there ``before`` and that
    no process uses; those in ``temporary``, the run's folder for temporary files, with objects that
    Ray has spilled there; and unfinished files in the folder of the run."""
    shared = in_shared_memory() - before
    left = shared - _used(shared) if shared else set()
    left |= {path for path in _listed(temporary) if not path.name.startswith(KEPT)}
    left |= set(temporary.glob("ray/session_*/ray_spilled_objects*/*"))
    left |= {path for path in run.rglob(".*") if path.name.endswith((".tmp", ".old"))}
    return [f"{path} ({_size(path)} bytes)" for path in sorted(left)]


def _listed(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _used(paths: Iterable[Path]) -> set[Path]:
    """Those that a process has open or mapped, or that have such a file in them."""
    inodes = {}
    for path in paths:
        for one in (path, *path.rglob("*")):
            with suppress(OSError):
                inodes[one.stat().st_ino] = path
    found = set().union(*map(_inodes_used_by, psutil.pids())) & inodes.keys()
    return {inodes[inode] for inode in found}


def _inodes_used_by(pid: int) -> set[int]:
    """Inodes in shared memory; of a process that is gone or of somebody else, none."""
    return set(_mapped(pid)) | set(_open(pid))


def _mapped(pid: int) -> Iterator[int]:
    with suppress(OSError), open(f"/proc/{pid}/maps") as file:
        # A semaphore is mapped under another name than it is found under.
        yield from (int(line.split(maxsplit=5)[4]) for line in file if str(SHARED_MEMORY) in line)


def _open(pid: int) -> Iterator[int]:
    with suppress(OSError):
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                path = f"/proc/{pid}/fd/{descriptor}"
                if os.readlink(path).startswith(str(SHARED_MEMORY)):
                    yield os.stat(path).st_ino


def _size(path: Path) -> int:
    files = [path, *path.rglob("*")]
    return sum(one.lstat().st_size for one in files if one.is_file() and not one.is_symlink())
