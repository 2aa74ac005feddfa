"""Finds the program in a completion.

Only what follows a thought counts. The answer is the last piece of the first group of pieces
(``pieces.groups``) that is Python and defines the wanted function, with what it needs of the
others and without what tries it out (``assembly``). Where the prompt held the head of the
function, a piece may also be its body alone. Nothing is run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from textwrap import dedent, indent

from unisd_core.common.thoughts import after_thought
from unisd_core.tasks.code.assembly import Assembled, assemble, assemble_script
from unisd_core.tasks.code.pieces import bodies, groups
from unisd_core.tasks.code.source import defines
from unisd_core.tasks.code.statements import statements

_RETURNS = re.compile(r"\b(?:return|yield)\b")
_FUTURE = re.compile(r"^from[ \t]+__future__[ \t]+import[ \t].*\n?", re.MULTILINE)
_INDENT = "    "


def extract_code(text: str, function: str, stub: str = "", also: Sequence[str] = ()) -> str | None:
    """The program in ``text`` that defines ``function``, or None.

    ``stub`` is the head of the function as the prompt shows it: imports, helpers, signature and
    docstring. It precedes the program, which may rely on the first two. ``also`` are other names
    that the tests use. Reads any text without raising, in time linear in its length.
    """
    found = find_code(text, function, also)
    if found is not None:
        return _behind(stub, found.code) if stub else found.code
    for piece in bodies(_answer(text)) if stub else ():
        if _RETURNS.search(piece):
            # A chat model's reply loses the indentation of its first line.
            for body in (indent(dedent(piece), _INDENT), _INDENT + piece.lstrip()):
                if defines(stub + body, function):
                    return stub + body
    return None


def find_code(text: str, function: str, also: Sequence[str] = ()) -> Assembled | None:
    """The program in ``text`` that defines ``function`` with the piece of the text it is made of;
    see ``extract_code``."""
    found = list(groups(_answer(text))) if function in text else []
    for by_itself in (True, False):
        for pieces in found:
            program = assemble(pieces, function, also, by_itself)
            if program is not None:
                return program
    return None


def find_script(text: str) -> Assembled | None:
    """The program in ``text`` that reads its input and prints what it finds, with the piece it is
    made of, or None."""
    for pieces in groups(_answer(text)):
        found = assemble_script(pieces)
        if found is not None:
            return found
    return None


def main_functions(text: str) -> list[str]:
    """The functions in the last piece of ``text`` that defines any, without those that another
    of them uses."""
    for pieces in groups(_answer(text)):
        for piece in reversed(pieces):
            defined = [s for s in statements(piece) or () if s.definition and not s.imports]
            if defined:
                used = {n for one in defined for n in one.reads - one.binds}
                return sorted({name for one in defined for name in one.binds - used})
    return []


def _answer(text: str) -> str:
    return after_thought(text).replace("\r\n", "\n").replace("\r", "\n")


def _behind(stub: str, code: str) -> str:
    """``code`` behind ``stub``; imports from ``__future__`` must be in front of both."""
    if "__future__" not in code:
        return f"{stub}\n{code}"
    return "".join(_FUTURE.findall(code)) + f"{stub}\n{_FUTURE.sub('', code)}"
