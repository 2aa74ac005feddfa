"""Texts a model wrote, kept under a digest of everything that determines them.

One small file per text, so that runs on one machine share them without locks: a file is
complete or absent, and two writers of one key write the same text.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unisd_core.common.errors import UserError
from unisd_core.common.files import atomic_path
from unisd_core.models.fetch import cache_folder

LARGEST = 2**30
"""Bytes of disk the texts may take before those that were not used for longest are dropped."""
TORN_S = 3600.0
"""Age of a file that is still being written from which on its writer counts as killed."""


@dataclass(frozen=True)
class CompletionText:
    """A text the model wrote; ``finished`` when it ended by itself, not by the length limit."""

    text: str
    finished: bool


@dataclass(frozen=True)
class Determinants:
    """Everything a written text depends on; one that differs is another text.

    ``kind`` names the use and the version of its prompt, ``model`` is a checksum of the weights
    and of how they are prompted (chat template), ``attempt`` counts earlier tries.
    """

    kind: str
    prompt: str
    model: str
    temperature: float
    max_tokens: int
    seed: int
    attempt: int

    @property
    def key(self) -> str:
        """See ``text_key``."""
        return text_key({**dataclasses.asdict(self), "temperature": float(self.temperature)})


def text_key(determinants: Mapping[str, Any]) -> str:
    """SHA-256, in hex, of plain values as canonical JSON."""
    canonical = json.dumps(determinants, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


class TextCache:
    """Texts below ``folder`` by ``text_key`` of what determines them; the default is ``texts`` in
    the cache folder of the project (``$UNISD_CACHE`` or ``~/.cache/unisd``).

    The first text a process keeps also makes room: the folder shrinks to half of ``largest`` bytes
    of disk where it is above it, and loses what killed writers have left.
    """

    def __init__(self, folder: Path | None = None, largest: int = LARGEST) -> None:
        self.folder = folder if folder is not None else cache_folder() / "texts"
        self.largest = largest
        self._has_room = False

    def get(self, key: str) -> CompletionText | None:
        """The text under ``key``; None where there is none or its file is torn or malformed."""
        try:
            entry = json.loads(self._path(key).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(entry, dict):
            return None
        text, finished = entry.get("text"), entry.get("finished")
        if not isinstance(text, str) or not isinstance(finished, bool):
            return None
        with contextlib.suppress(OSError):  # a cache that can only be read serves as well
            os.utime(self._path(key))
        return CompletionText(text, finished)

    def put(self, key: str, written: CompletionText) -> None:
        """Keep ``written`` under ``key``, atomically. Raises UserError when the folder cannot be
        written to."""
        path = self._path(key)
        if not self._has_room:
            self._make_room()
            self._has_room = True
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path, shared=True) as temporary:
                temporary.write_text(json.dumps(dataclasses.asdict(written)), encoding="ascii")
        except OSError as error:
            raise UserError(
                f"{self.folder}: texts of the model cannot be kept there "
                f"({error.strerror or error}); set UNISD_CACHE to a folder that can be written to"
            ) from error

    def _make_room(self) -> None:
        for torn in self.folder.glob("*/.*.tmp"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - torn.stat().st_mtime > TORN_S:
                    torn.unlink()
        found = []
        for file in self.folder.glob("*/*.json"):
            with contextlib.suppress(FileNotFoundError):  # another process makes room too
                status = file.stat()
                found.append((status.st_mtime, status.st_blocks * 512, file))
        held = sum(size for _, size, _ in found)
        if held <= self.largest:
            return
        for _, size, file in sorted(found):
            file.unlink(missing_ok=True)
            held -= size
            if held <= self.largest // 2:
                break

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"
