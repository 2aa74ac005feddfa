"""Ways to break a valid file: at the level of its bytes, of its JSON, and of its place on disk."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

DEEP = 100_000

NASTY_TEXTS = (
    "", " ", "\x00", "\ufeff", "\ud800", "a\udfffb", "\u2028", "\r\n", "\u202e", "\U0001f600",
    "\u0663\u0664", "\uff11\uff12", "null", "NaN", "-Infinity", "1e999", "-0", "0x10", "0" * 50,
    "9" * 5000, "-" + "1" * 400, "../..", "/", "/dev/null/x", "~", "a" * 300, "a/" * 3000, "%s",
    "{0}", "{name.x}", "${x}", "\\", "'", '"', "`" * 3, "=", "a=b", "off", "!!int x", "*a", "[",
    "{", "[" * 2000, "{a: " * 2000, "- " * 2000, "<<", "2024-13-45", "1:2:3", "@", "\t", "# x",
)  # fmt: skip

NASTY_TOKENS = (
    *(text.encode("utf-8", "surrogatepass") for text in NASTY_TEXTS),
    b"\xff\xfe", b"\xc3", b"\x00" * 64, b"\\ud800", b"[" * DEEP, b'{"a":' * DEEP, b"NaN",
    b"1" * 5000, b"\n", b"\r", b"\n\n", b",", b":", b'"', b"}", b"]", b"true", b"-1", b"0.5e999",
    b"&a [*a]", b"!!timestamp x", b"!!binary '%'", b"!!bool x", b"!!int x", b"!!float x",
    b"!!map x", b"!!set {a}", b"!!python/name:os.system", b"? [a]", b"--- ", b"...", b"%YAML 9.9",
)  # fmt: skip


def texts(largest: int = 60) -> SearchStrategy[str]:
    """Any text, lone surrogates and NUL included."""
    anything = st.text(st.characters(), max_size=largest)
    return st.one_of(anything, st.sampled_from(NASTY_TEXTS))


_DEEP_VALUES = (
    [[[[[[]]]]]],
    {"a": {"b": {"c": [{"d": None}]}}},
    [[0] * 50] * 50,
)
NUMBERS = (
    0, 1, -1, 2**31, -(2**31) - 1, 2**63, 2**64, 10**400, 0.5, -0.0, 1e308, 5e-324, math.nan,
    math.inf, -math.inf,
)  # fmt: skip


def values() -> SearchStrategy[Any]:
    """What JSON can hold, and what Python writes as JSON although it cannot."""
    leaves = st.one_of(
        st.none(), st.booleans(), st.integers(), st.sampled_from(NUMBERS), st.floats(), texts(20)
    )
    nested = st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts(8), inner, max_size=4),
        max_leaves=8,
    )
    return nested | st.sampled_from(_DEEP_VALUES)


@st.composite
def damaged_fields(draw: DrawFn, valid: Mapping[str, Any]) -> dict[str, Any]:
    """``valid`` with up to three of its fields left out, replaced or added."""
    fields = dict(valid)
    for _ in range(draw(st.integers(0, 3))):
        key = draw(st.sampled_from(sorted(valid)) | texts(8))
        if draw(st.booleans()):
            fields[key] = draw(values())
        else:
            fields.pop(key, None)
    return fields


@st.composite
def json_object(draw: DrawFn, fields: Mapping[str, Any]) -> str:
    """``fields`` as JSON, sometimes with a key twice."""
    written = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in fields.items()]
    if written and draw(st.integers(0, 9)) == 0:
        written.append(draw(st.sampled_from(written)))
    return "{" + ", ".join(written) + "}"


@st.composite
def damaged_bytes(draw: DrawFn, valid: bytes) -> bytes:
    """``valid`` cut, flipped, repeated, extended, put into another encoding, or as it is."""
    data = valid
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        match draw(st.integers(0, 8)):
            case 0:
                data = data[:start]
            case 1:
                data = data[:start] + data[end:]
            case 2:
                data = data[:end] + data[start:]
            case 3:
                token = draw(st.sampled_from(NASTY_TOKENS) | st.binary(max_size=8))
                data = data[:start] + token + data[start:]
            case 4:
                token = draw(st.sampled_from(NASTY_TOKENS) | st.binary(max_size=8))
                data = data[:start] + token + data[end:]
            case 5 if data:
                place, bit = min(start, len(data) - 1), draw(st.integers(0, 7))
                data = data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]
            case 6:
                data = data.replace(b"\n", draw(st.sampled_from([b"\r\n", b"\r", b"", b"\n\n"])))
            case 7:
                data = b"\xef\xbb\xbf" + data
            case _:
                encoding = draw(st.sampled_from(["utf-16", "utf-32", "utf-7"]))
                data = data.decode("utf-8", "replace").encode(encoding)
    return data


def _directory(path: Path) -> None:
    path.mkdir()


def _full_directory(path: Path) -> None:
    path.mkdir()
    (path / path.name).write_bytes(b"x")


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _dangling(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def _unreadable(path: Path) -> None:
    path.write_bytes(b"{}\n")
    path.chmod(0)


def _file_as_parent(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.write_bytes(b"")


MISPLACED: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: None,
    "empty": lambda path: path.write_bytes(b""),
    "blank": lambda path: path.write_bytes(b" \n\n"),
    "directory": _directory,
    "full directory": _full_directory,
    "symlink loop": _loop,
    "dangling symlink": _dangling,
    "unreadable": _unreadable,
    "device": lambda path: path.symlink_to("/dev/null"),
    "parent is a file": _file_as_parent,
}
"""What may stand in the place of a file, by name; each is called with the file's path, in a folder
of its own."""


def misplace(path: Path, how: str) -> Path:
    """Put ``how`` of ``MISPLACED`` in the place of ``path``, whatever is there now."""
    parent = path.parent
    if parent.is_dir():
        shutil.rmtree(parent)
    elif parent.exists():
        os.unlink(parent)
    parent.mkdir(parents=True)
    MISPLACED[how](path)
    return path
