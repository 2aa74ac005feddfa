"""Text that people write: UTF-8 with or without a byte-order mark, and JSON to the letter."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

from unisd_core.common.errors import UserError

MARK = codecs.BOM_UTF8
"""What Notepad and PowerShell begin a UTF-8 file with."""


class WrittenFloat(float):
    """A JSON number with a fraction or an exponent, and how it was written."""

    def __init__(self, written: str) -> None:
        self.written = written


def decoded(data: bytes) -> str:
    """UTF-8 without its mark; ValueError, with a reason of one line, for anything else."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError("is UTF-16; save it as UTF-8")
    try:
        return data.removeprefix(MARK).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 ({error.reason})") from None


def read_text(path: Path) -> str:
    """The text of ``path``, its lines ended by ``\\n``; UserError naming it where it cannot be read
    or is not UTF-8."""
    try:
        return decoded(path.read_bytes()).replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise UserError(f"{path}: cannot be read ({error})") from None


def read_json(path: Path) -> Any:
    """The value in a JSON file. Raises OSError or ValueError."""
    return json.loads(decoded(path.read_bytes()))


def parse_json(text: str) -> Any:
    """The value of ``text``; a float is a ``WrittenFloat``. Raises ValueError, also where an object
    has a key twice, of which one would be lost, or RecursionError."""
    return _DECODER.decode(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice[:40]!r} appears twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=WrittenFloat)
