"""Checkpoint files: written with checksums, which are verified on reading.

Tensors are safetensors, the rest is JSON. The marker holds the checksum of every other file and is
written last. Nothing is unpickled, and no name that a file mentions is opened.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    NonNegativeInt,
    TypeAdapter,
    ValidationError,
    field_validator,
)
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from actors.admission.ledger import Outcome
from unisd_core.common.errors import reason
from unisd_core.common.files import atomic_path
from unisd_core.training.batch_stats import BatchTotals

MARKER = "complete.json"
STATE = "state.json"
TENSORS = ("adapter", "optimizer", "teacher")
FILES = (*(f"{name}.safetensors" for name in TENSORS), STATE)
"""Every file of a checkpoint but the marker."""


class BrokenCheckpoint(Exception):
    """A checkpoint that cannot be used; the message is one line that says why."""


@dataclass(frozen=True)
class Checkpoint:
    """Everything a run needs to resume after ``version`` optimizer steps."""

    version: int
    adapter: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    teacher: dict[str, Tensor]
    ledger: dict[str, Any]
    totals: dict[str, Any]
    """Sums over all rows trained so far: ages, tokens, seconds."""
    thresholds: dict[str, float | None]
    """What earlier batches leave to later ones: ``clip`` and ``agreement_scale``."""
    incarnation: int = 0
    """Of the learners that wrote it; those that resume from it begin a later one."""


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` into the empty ``folder``, the marker last."""
    for name in TENSORS:
        with atomic_path(folder / f"{name}.safetensors") as temporary:
            save_file(getattr(checkpoint, name), temporary)
    ledger = dict(checkpoint.ledger)
    ledger["outcomes"] = base64.b64encode(ledger["outcomes"]).decode()
    state = {
        "version": checkpoint.version,
        "ledger": ledger,
        "totals": checkpoint.totals,
        "thresholds": checkpoint.thresholds,
        "incarnation": checkpoint.incarnation,
    }
    (folder / STATE).write_text(json.dumps(state, indent=1))
    checksums = {name: _sha256(folder / name) for name in FILES}
    (folder / MARKER).write_text(json.dumps(checksums, indent=1))


def read(folder: Path, step: int) -> Checkpoint:
    """The checkpoint of ``step`` in ``folder``.

    Raises BrokenCheckpoint where it is damaged, incomplete, or deleted while it is read.
    """
    checksums = _checksums(folder)
    for name in FILES:
        with _blaming(name):
            if _sha256(folder / name) != checksums[name]:
                raise BrokenCheckpoint(f"{name} does not match its checksum")
    with _blaming(STATE):
        state = _State.model_validate_json((folder / STATE).read_bytes())
    if state.version != step:
        raise BrokenCheckpoint(f"{STATE} is of step {state.version}")
    tensors: dict[str, Any] = {}
    for name in TENSORS:
        with _blaming(f"{name}.safetensors"):
            tensors[name] = load_file(folder / f"{name}.safetensors")
    return Checkpoint(**state.model_dump(), **tensors)


def is_complete(folder: Path) -> bool:
    """Whether ``folder`` has a sound marker and all files; their contents are not read."""
    try:
        _checksums(folder)
        return all((folder / name).is_file() for name in FILES)
    except (OSError, BrokenCheckpoint):
        return False


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Ledger(_Strict):
    order: tuple[int, int, int, int]
    version: NonNegativeInt
    outcomes: bytes
    reasons: dict[str, int]
    attempts: dict[int, int]

    @field_validator("outcomes")
    @classmethod
    def _decoded(cls, text: bytes) -> bytes:
        outcomes = base64.b64decode(text, validate=True)
        for code in set(outcomes):
            Outcome(code)
        return outcomes


class _Thresholds(_Strict):
    clip: float | None
    agreement_scale: float | None


class _State(_Strict):
    version: NonNegativeInt
    ledger: _Ledger
    totals: dict[str, int | float]
    thresholds: _Thresholds
    incarnation: NonNegativeInt = 0

    @field_validator("totals")
    @classmethod
    def _known_totals(cls, totals: dict[str, int | float]) -> dict[str, int | float]:
        unknown = totals.keys() - {field.name for field in dataclasses.fields(BatchTotals)}
        if unknown:
            raise ValueError(f"{min(unknown)} is unknown")
        return totals


_MARKER = TypeAdapter(dict[str, str], config=ConfigDict(strict=True))


def _checksums(folder: Path) -> dict[str, str]:
    with _blaming(MARKER):
        checksums = _MARKER.validate_json((folder / MARKER).read_bytes())
    if checksums.keys() != set(FILES):
        raise BrokenCheckpoint(f"{MARKER} lists other files than a checkpoint has")
    return checksums


@contextmanager
def _blaming(name: str) -> Iterator[None]:
    """Whatever goes wrong with a file makes the checkpoint a broken one, in one line."""
    try:
        yield
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = "".join(f"{part}." for part in first["loc"]).rstrip(".") or "text"
        raise BrokenCheckpoint(f"{name}: {where}: {first['msg']}") from None
    except FileNotFoundError:
        raise BrokenCheckpoint(f"{name} is missing") from None
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise BrokenCheckpoint(f"{name}: {type(error).__name__}: {reason(error)}") from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
