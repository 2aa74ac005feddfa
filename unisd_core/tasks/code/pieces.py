"""Pieces of a completion that may be Python: JSON fields, fenced blocks, marked or bare code.

Nothing is run, any text is read without raising, and in time linear in its length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from textwrap import dedent

from unisd_core.tasks.code.source import parse

_MARK = re.compile(r"`{3,}")
_TILDES = re.compile(r"\A([ \t]*)~{3,}")
_LABEL = re.compile(r"\A[ \t]*(?i:python3?|py)\b")
_TAG = re.compile(
    r"\[/?(?:PYTHON|CODE|BEGIN|DONE|ANSWER|TOOL_CALLS)\]"
    r"|</?(?:code|answer|python|solution|program|tool_call|pre|s)(?:\s[^<>\n]{0,80})?>"
    r"|<\|[a-z_]{1,40}\|>"
    r"|\\(?:begin|end)\{(?:lstlisting|verbatim|minted|python)\}"
    r"(?:\[[^\]\n]{0,80}\])?(?:\{\w{0,20}\})?",
    re.IGNORECASE,
)
"""What model families and their prompts put around code where they use no fence."""
_TOP_LEVEL = re.compile(
    r"(?:async\s+)?def\s|class\s|import\s|from\s+[\w.]+\s+import\s|@\w|\w+\s*=[^=]|[#)\]}]"
)
_PROMPT = re.compile(r"\A[ \t]*(?:>>>|\.\.\.)(?: |\Z)")
_INVISIBLE = str.maketrans({"\u00a0": " ", "\u200b": None, "\ufeff": None})
_NESTED = ("arguments", "parameters", "input")
_LONGEST = 16_000
"""Characters of a piece that are still read, ten times the longest reference: on some text
Python's own parser takes time quadratic in its length."""


def groups(text: str) -> Iterator[list[str]]:
    """Groups of pieces of ``text``, in which line ends are ``\\n``, the likeliest first.

    The pieces of a group are in the order of the text and may need each other: an import in one
    block, a function in the next.
    """
    fenced = list(_fenced(text))
    tagged = list(_tagged(text))
    yield _short(_json_codes([text, *fenced, *tagged]))
    for pieces in (fenced, tagged, [text]):
        yield [part for piece in pieces for part in _readable(piece)]
    # A fence at the left margin of a docstring cuts its block in pieces.
    yield _short([_between_fences(text)])


def bodies(text: str) -> Iterator[str]:
    """Pieces of ``text`` that may be the body of a function alone, the likeliest first."""
    fenced, tagged = list(_fenced(text)), list(_tagged(text))
    for pieces in (_json_codes([text, *fenced, *tagged]), fenced, tagged, [text]):
        yield from reversed(_short(pieces))


def _short(pieces: list[str]) -> list[str]:
    return [piece for piece in pieces if len(piece) <= _LONGEST]


def _json_codes(candidates: list[str]) -> list[str]:
    """Programs in the field ``code`` of JSON objects, also of the arguments of a call."""
    found = []
    for candidate in candidates:
        code = _json_code(candidate)
        if code is not None:
            found += [*_fenced(code), code]
    return found


def _json_code(text: str) -> str | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        fields = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    for part in (fields, *(fields.get(key) for key in _NESTED)):
        if isinstance(part, dict) and isinstance(part.get("code"), str):
            return str(part["code"]).replace("\r\n", "\n").replace("\r", "\n")
    return None


def _fenced(text: str) -> Iterator[str]:
    """The contents of fenced blocks in order, also of fences within a line."""
    lines: list[str] | None = None
    margin = 0
    for raw in text.split("\n"):
        line = _TILDES.sub(r"\1```", raw)
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
            lines.append(raw)
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


def _tagged(text: str) -> list[str]:
    parts = _TAG.split(text)
    return [_block(part.split("\n")) for part in parts] if len(parts) > 1 else []


def _between_fences(text: str) -> str:
    lines = text.split("\n")
    marks = [index for index, line in enumerate(lines) if line.startswith("```")]
    return "\n".join(lines[marks[0] + 1 : marks[-1]]) if len(marks) > 2 else ""


def _readable(piece: str) -> list[str]:
    """``piece`` where it is Python, else what is left of it without prompts of a console, spaces
    that are none and prose."""
    plain = piece.translate(_INVISIBLE)
    if len(piece) > _LONGEST:
        return _short(_runs(plain))
    if parse(piece) is not None:
        return [piece]
    typed = [line for line in plain.split("\n") if _PROMPT.match(line)]
    session = "\n".join(_PROMPT.sub("", line) for line in typed)
    for attempt in (plain, session):
        if attempt and parse(attempt) is not None:
            return [attempt]
    return _runs(plain)


def _runs(text: str) -> list[str]:
    """Stretches of ``text`` from a line that begins a definition or import to the last before
    prose."""
    runs: list[list[str]] = []
    inside = False
    for line in text.split("\n"):
        if _TOP_LEVEL.match(line):
            if not inside:
                runs.append([])
            inside = True
        elif line.strip() and not line[0].isspace():
            inside = False
        if inside:
            runs[-1].append(line)
    return ["\n".join(run) for run in runs]
