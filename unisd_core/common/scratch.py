"""Scratch folders: temporary files that do not outlive the process that made them by long.

A process holds a lock on its folder, which the kernel takes back however the process ends. A
folder whose lock nobody holds is removed by whoever makes the next one in the same place. Unlike
process ids in names, locks mean the same to containers that share a place. Where locks do not work,
as on some network file systems, a folder stays until its own process removes it.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "unisd-scratch-"
SHARED_MEMORY = Path("/dev/shm")
"""Memory that looks like a folder; files in it take memory until they are removed."""


@contextmanager
def scratch_folder(place: Path | None = None) -> Iterator[Path]:
    """A new folder in ``place``, by default the one for temporary files; removed with all that is
    in it when the block ends, or after the process has ended."""
    folder, lock = _make(place if place is not None else Path(tempfile.gettempdir()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def keep_scratch_folder(place: Path | None = None) -> Path:
    """As :func:`scratch_folder`, for as long as the process lives."""
    folder, _ = _make(place if place is not None else Path(tempfile.gettempdir()))
    atexit.register(_remove, folder, os.getpid())
    return folder


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # and not a copy of it
        shutil.rmtree(folder, ignore_errors=True)


def sweep(place: Path) -> None:
    """Remove the scratch folders in ``place`` whose process has ended."""
    for folder in place.glob(f"{PREFIX}*"):
        with suppress(OSError):  # somebody else's, or gone meanwhile
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(lock).st_uid == os.getuid():
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _make(place: Path) -> tuple[Path, int]:
    """A new folder and the descriptor that holds its lock, which other programs do not inherit."""
    sweep(place)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        with suppress(FileNotFoundError):  # swept before it was locked
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            if _owned(lock) and folder.is_dir():
                return folder, lock
            os.close(lock)


def _owned(lock: int) -> bool:
    """Whether nobody else has locked it. Where there are no locks, nobody has."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
