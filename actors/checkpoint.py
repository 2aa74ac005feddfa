"""Checkpoints of a run: complete or not there at all.

A checkpoint is written under a temporary name, flushed to disk, and renamed; its marker with the
checksum of every file comes last. Tensors are safetensors, the rest is JSON.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

log = logging.getLogger(__name__)

MARKER = "complete.json"


@dataclass(frozen=True)
class Checkpoint:
    """Everything a run needs to go on after ``version`` optimizer steps."""

    version: int
    adapter: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    teacher: dict[str, Tensor]
    ledger: dict[str, Any]
    totals: dict[str, Any]
    """Sums over all rows trained so far (ages, tokens, seconds)."""
    thresholds: dict[str, float | None]
    """What earlier batches leave to later ones: ``clip`` and ``agreement_scale``."""


def save(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write ``folder/step-<version>`` and delete all but the newest ``keep`` checkpoints."""
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"step-{checkpoint.version:06d}"
    temporary = folder / f".{final.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    for name in ("adapter", "optimizer", "teacher"):
        save_file(getattr(checkpoint, name), temporary / f"{name}.safetensors")
    ledger = dict(checkpoint.ledger)
    ledger["outcomes"] = base64.b64encode(ledger["outcomes"]).decode()
    state = {
        "version": checkpoint.version,
        "ledger": ledger,
        "totals": checkpoint.totals,
        "thresholds": checkpoint.thresholds,
    }
    (temporary / "state.json").write_text(json.dumps(state, indent=1))
    checksums = {path.name: _sha256(path) for path in sorted(temporary.iterdir())}
    (temporary / MARKER).write_text(json.dumps(checksums, indent=1))
    for path in [*temporary.iterdir(), temporary]:
        _flush(path)
    if final.exists():  # written again after a rollback; never be without one
        old = folder / f".{final.name}.old"
        shutil.rmtree(old, ignore_errors=True)
        os.replace(final, old)
        os.replace(temporary, final)
        shutil.rmtree(old)
    else:
        os.replace(temporary, final)
    _flush(folder)
    for old in _complete(folder)[keep:]:
        shutil.rmtree(old)
    return final


def newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint whose files match their checksums; broken ones are skipped with a
    line."""
    for path in _complete(folder):
        problem = _problem(path)
        if problem is None:
            return _load(path)
        log.warning("checkpoint %s is skipped: %s", path.name, problem)
    return None


def newest_step(folder: Path) -> int | None:
    """Step of the newest complete checkpoint, without reading it."""
    found = _complete(folder)
    return int(found[0].name.removeprefix("step-")) if found else None


def _load(path: Path) -> Checkpoint:
    state = json.loads((path / "state.json").read_text())
    ledger = state["ledger"]
    ledger["outcomes"] = base64.b64decode(ledger["outcomes"])
    tensors = {
        name: load_file(path / f"{name}.safetensors")
        for name in ("adapter", "optimizer", "teacher")
    }
    return Checkpoint(
        version=state["version"],
        ledger=ledger,
        totals=state["totals"],
        thresholds=state["thresholds"],
        **tensors,
    )


def _problem(path: Path) -> str | None:
    try:
        checksums = json.loads((path / MARKER).read_text())
        for name, checksum in checksums.items():
            if _sha256(path / name) != checksum:
                return f"{name} does not match its checksum"
    except (OSError, ValueError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _complete(folder: Path) -> list[Path]:
    """Checkpoints with a marker, newest first."""
    return sorted((path.parent for path in folder.glob(f"step-*/{MARKER}")), reverse=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
