"""Finds the program in a completion.

The answer is the first piece of the text that is Python and defines the wanted function. Pieces
come in this order: the field ``code`` of a JSON object, fenced blocks whatever their label, the
text itself, the text without the prose around its code. A block that was not closed reaches to
the end. Where the prompt held the head of the function, a piece may also be its body alone.
Nothing is run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from textwrap import dedent, indent

from unisd_core.tasks.code.source import defines

_MARK = re.compile(r"`{3,}")
_LABEL = re.compile(r"\A[ \t]*(?i:python3?|py)\b")
_RETURNS = re.compile(r"\b(?:return|yield)\b")
_TOP_LEVEL = re.compile(
    r"(?:async\s+)?def\s|class\s|import\s|from\s+[\w.]+\s+import\s|@\w|\w+\s*=[^=]|[#)\]}]"
)
_INDENT = "    "
_LONGEST = 16_000
"""Characters of a piece that are still read, ten times the longest reference: on some text
Python's own parser takes time quadratic in its length."""


def extract_code(text: str, function: str, stub: str = "") -> str | None:
    """The program in ``text`` that defines ``function``, or None.

    ``stub`` is the head of the function as the prompt shows it: imports, helpers, signature and
    docstring. It precedes the program, which may rely on the first two. Reads any text without
    raising, in time linear in its length.
    """
    unix = text.replace("\r\n", "\n").replace("\r", "\n")
    pieces = [piece for piece in _pieces(unix) if len(piece) <= _LONGEST]
    for piece in pieces:
        if defines(piece, function):
            return f"{stub}\n{piece}" if stub else piece
    for piece in pieces:
        if stub and _RETURNS.search(piece):
            # A chat model's reply loses the indentation of its first line.
            for body in (indent(dedent(piece), _INDENT), _INDENT + piece.lstrip()):
                if defines(stub + body, function):
                    return stub + body
    return None


def _pieces(text: str) -> Iterator[str]:
    blocks = list(_fenced(text))
    for candidate in (text, *blocks):
        code = _json_code(candidate)
        if code is not None:
            yield from _fenced(code)
            yield code
    yield from blocks
    yield text
    yield _without_prose(text)


def _json_code(text: str) -> str | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        fields = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    code = fields.get("code")
    return code if isinstance(code, str) else None


def _fenced(text: str) -> Iterator[str]:
    """The contents of fenced blocks in order, also of fences within a line."""
    lines: list[str] | None = None
    margin = 0
    for line in text.split("\n"):
        before, *others = _MARK.split(line)
        opens = len(others) % 2 == 1
        indentation = len(line) - len(line.lstrip())
        if lines is None:
            for part in others[:-1:2]:
                yield _LABEL.sub("", part).strip()
            if opens:
                lines, margin = _first_line(others[-1]), indentation
        elif not opens or (indentation > margin + 3 if not before.strip() else others[-1].strip()):
            # A fence further to the right stands in a docstring.
            lines.append(line)
        else:
            yield _block([*lines, before])
            # A mark with a label opens the next block: the last one was not closed.
            lines = _first_line(others[-1]) if others[-1].strip() else None
    if lines is not None:
        yield _block(lines)


def _block(lines: list[str]) -> str:
    code = "\n".join(lines).strip("\n")
    # Only where it is needed: it also empties blank lines within strings.
    return dedent(code) if code[:1].isspace() else code


def _first_line(after_mark: str) -> list[str]:
    """Code that begins right behind an opening mark or its label."""
    first = _LABEL.sub("", after_mark).strip()
    return [first] if _TOP_LEVEL.match(first) else []


def _without_prose(text: str) -> str:
    """From the first line that begins a definition or import to the last before prose."""
    kept: list[str] = []
    for line in text.split("\n"):
        if _TOP_LEVEL.match(line) or (kept and (not line.strip() or line[0].isspace())):
            kept.append(line)
        elif kept:
            break
    return "\n".join(kept)
