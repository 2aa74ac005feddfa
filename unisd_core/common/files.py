"""Writing files whole or not at all, and reading JSON lines that a crash may have cut off."""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unisd_core.common.user_text import MARK


@contextmanager
def atomic_path(path: Path, *, durable: bool = False, shared: bool = False) -> Iterator[Path]:
    """A name beside ``path``; what is written there replaces ``path`` when the block ends.

    Readers see the old file or the new one, and an error in the block changes nothing. ``durable``
    keeps this promise when the machine crashes too. ``shared`` allows several writers of one path
    at a time; what a killed one leaves is then not overwritten by the next.
    The new file has the mode that the umask gives: libraries that write through temporary files of
    their own, as safetensors does, would leave it to its owner alone.
    """
    own = f".{secrets.token_hex(4)}" if shared else ""
    temporary = path.with_name(f".{path.name}{own}.tmp")
    temporary.unlink(missing_ok=True)
    temporary.touch()
    mode = stat.S_IMODE(temporary.stat().st_mode)
    try:
        yield temporary
        temporary.chmod(mode)
        if durable:
            flush(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replace_file(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, which is never seen half written and survives a crash."""
    with atomic_path(path, durable=True) as temporary:
        temporary.write_text(text, encoding="utf-8")


def flush(path: Path) -> None:
    """Return once a file or folder has reached the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@dataclass(frozen=True)
class JsonLine:
    """One line of a file of JSON objects."""

    text: bytes
    """Without the line's end."""
    ended: bool = True
    """False for a last line without its end: its writer was killed, or is not done yet."""

    @property
    def fields(self) -> dict[str, Any] | None:
        """The object; None where the line holds none."""
        try:
            # Of bytes it would guess the encoding.
            found = json.loads(self.text.decode())
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None


def json_lines(path: Path) -> list[JsonLine]:
    """The lines of ``path``, none where there is no such file. What to do with a line that is torn
    is for the caller to say. Raises OSError where the file cannot be read."""
    try:
        *whole, rest = path.read_bytes().removeprefix(MARK).split(b"\n")
    except FileNotFoundError:
        return []
    lines = [JsonLine(text) for text in whole]
    return [*lines, JsonLine(rest, ended=False)] if rest else lines
