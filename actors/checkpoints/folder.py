"""Checkpoint folder: each checkpoint is complete or absent, and only the newest are kept.

A checkpoint is written under a temporary name, flushed to disk, and renamed.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from actors.checkpoints.files import (
    MARKER,
    BrokenCheckpoint,
    Checkpoint,
    is_complete,
    read,
    write,
)
from unisd_core.common.files import flush

log = logging.getLogger(__name__)

Note = Callable[[str], None]
"""Takes a line for people to read."""

_NAME = re.compile(r"step-(\d{6,})")
_REPLACED = re.compile(r"\.step-(\d{6,})\.old")


def save(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write ``folder/step-<version>``, then delete all but the newest ``keep`` checkpoints and what
    killed writers have left."""
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / name_of(checkpoint.version)
    temporary = temporary_for(final)
    write(temporary, checkpoint)
    install(temporary, final)
    _prune(folder, checkpoint.version, keep)
    return final


def newest(folder: Path, note: Note = log.warning) -> Checkpoint | None:
    """The newest checkpoint that is whole. Broken ones are skipped, with a line for ``note``."""
    tried: set[Path] = set()
    # Listed again each time: what was listed may be pruned by now, and a newer one be there.
    while left := [entry for entry in _listed(folder) if entry[1] not in tried]:
        step, path = left[0]
        try:
            return read(path, step)
        except BrokenCheckpoint as problem:
            tried.add(path)
            note(f"checkpoint {path.name} is skipped: {problem}")
    return None


def newest_step(folder: Path) -> int | None:
    """Step of the newest checkpoint that has a sound marker and all files. Their contents are not
    read, so ``newest`` may still skip it."""
    return next((step for step, path in _listed(folder) if is_complete(path)), None)


def name_of(step: int) -> str:
    """Name of the folder of the checkpoint of ``step``."""
    return f"step-{step:06d}"


def step_of(name: str) -> int | None:
    """The inverse of ``name_of``; None for any other name."""
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else None


def temporary_for(final: Path) -> Path:
    """An empty folder in which ``final`` can be prepared; those of dead writers are removed."""
    for leftover in final.parent.glob(".step-*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = final.with_name(f".{final.name}.tmp")
    temporary.mkdir()
    return temporary


def install(temporary: Path, final: Path) -> None:
    """Give the files in ``temporary`` their final name, once they have reached the disk."""
    for path in [*temporary.iterdir(), temporary]:
        flush(path)
    if final.exists():  # written again after a rollback; one of the two can always be read
        old = final.with_name(f".{final.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        os.replace(final, old)
    os.replace(temporary, final)
    flush(final.parent)


def _prune(folder: Path, version: int, keep: int) -> None:
    """Later steps than ``version`` were rolled back; they would take the places of what is kept."""
    kept = [
        path
        for step, path in _listed(folder)
        if step <= version and _NAME.fullmatch(path.name) and is_complete(path)
    ][:keep]
    for _, path in _listed(folder):
        if path not in kept:
            # Without its marker it is no checkpoint any more, however far the rest gets.
            with suppress(OSError):
                (path / MARKER).unlink()
            shutil.rmtree(path, ignore_errors=True)


def _listed(folder: Path) -> list[tuple[int, Path]]:
    """Step and folder of every checkpoint, whole or not, the newest first."""
    # Of two with the same step, the one that was moved out of the way comes last.
    return sorted(_found(folder), key=lambda entry: (entry[0], entry[1].name[0] != "."))[::-1]


def _found(folder: Path) -> Iterator[tuple[int, Path]]:
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            name = _NAME.fullmatch(path.name) or _REPLACED.fullmatch(path.name)
            if name:
                yield int(name[1]), path
