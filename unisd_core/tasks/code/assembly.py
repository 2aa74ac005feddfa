"""One program of the pieces of an answer: the piece that counts, what it needs of the others, and
without what only tries it out."""

from __future__ import annotations

import builtins
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from unisd_core.tasks.code.source import defines
from unisd_core.tasks.code.statements import Statement, statements

_BUILTIN = frozenset(dir(builtins))


@dataclass(frozen=True)
class Assembled:
    """``code`` is the program, ``piece`` the text that it is made of, as it stands."""

    code: str
    piece: str


def assemble(
    pieces: Sequence[str], function: str, also: Iterable[str] = (), by_itself: bool = False
) -> Assembled | None:
    """The last of ``pieces`` that defines ``function`` as a program, or None. With ``by_itself``
    an import of it, a sketch (``...``) or a use such as ``area = area(2)`` is no definition.

    Names that it uses, or that are in ``also``, and does not define come from the other pieces,
    from those before it first. Statements that print, check, read the standard input, leave the
    interpreter or call ``function`` are left out unless its definitions need what they do.
    """
    if not any(function in piece for piece in pieces):
        return None
    parts = _parts(pieces)
    gives = _gives if by_itself else _binds
    holding = [i for i, part in enumerate(parts) if any(gives(s, function) for s in part.body)]
    index = next((i for i in reversed(holding) if defines(parts[i].text, function)), None)
    if index is None:
        return None
    source = _Source(parts, index)
    base = parts[index].body
    needed = source.closure([function, *also, *_names(s.reads_now for s in base if s.definition)])
    kept = list(_without_trials(base, needed, _speaking(parts, function)))
    return _assembled(parts, index, source, needed, kept)


def assemble_script(pieces: Sequence[str]) -> Assembled | None:
    """The last of ``pieces`` that reads the standard input as it runs, else the last that prints,
    with what it uses of the others; None where none does."""
    parts = _parts(pieces)
    asking, printing = _reaching(parts, _asks), _reaching(parts, _prints)
    for names, direct in ((asking, _asks), (printing, _prints)):
        running = [
            i
            for i, part in enumerate(parts)
            if any(not s.definition and (direct(s) or s.reads & names) for s in part.body)
        ]
        if running:
            source = _Source(parts, running[-1])
            return _assembled(parts, running[-1], source, set(), parts[running[-1]].body)
    return None


@dataclass(frozen=True)
class _Part:
    text: str
    body: list[Statement]


def _parts(pieces: Sequence[str]) -> list[_Part]:
    read = [(piece, statements(piece)) for piece in pieces]
    return [_Part(piece, body) for piece, body in read if body is not None]


class _Source:
    """Where names come from: the piece at ``index``, those before it from the nearest on, then
    those behind it."""

    def __init__(self, parts: Sequence[_Part], index: int) -> None:
        self._changing: dict[str, list[Statement]] = {}
        order = [index, *range(index - 1, -1, -1), *range(index + 1, len(parts))]
        for at in order:
            binding = defaultdict(list)
            for statement in parts[at].body:
                for name in statement.changes:
                    binding[name].append(statement)
            for name, found in binding.items():
                binds = [s for s in found if name in s.binds]
                # A module is not made by what calls its functions, nor a builtin in passing.
                if any(s.imports for s in binds):
                    self._changing.setdefault(name, binds)
                elif binds and (
                    at == index or name not in _BUILTIN or any(s.definition for s in binds)
                ):
                    self._changing.setdefault(name, found)

    def closure(
        self, names: Iterable[str], allowed: Callable[[Statement], bool] = lambda statement: True
    ) -> set[Statement]:
        """The statements that give ``names`` their values, and all that those read."""
        found: set[Statement] = set()
        waiting = list(names)
        seen = set(waiting)
        while waiting:
            for statement in self._changing.get(waiting.pop(), ()):
                if statement not in found and allowed(statement):
                    found.add(statement)
                    waiting += statement.reads - seen
                    seen |= statement.reads
        return found


def _binds(statement: Statement, name: str) -> bool:
    return name in statement.binds


def _gives(statement: Statement, name: str) -> bool:
    """Whether ``statement`` makes ``name`` what it is: no import, sketch or use of it."""
    if name not in statement.binds or statement.imports or statement.hollow:
        return False
    return statement.definition or name not in statement.reads_now


def _names(sets: Iterable[frozenset[str]]) -> set[str]:
    return {name for names in sets for name in names}


def _asks(statement: Statement) -> bool:
    return statement.asks


def _prints(statement: Statement) -> bool:
    return statement.prints


def _reaching(parts: Sequence[_Part], marked: Callable[[Statement], bool]) -> set[str]:
    """Names of what reads or calls something that is ``marked``, at any remove."""
    readers = defaultdict(list)
    for part in parts:
        for statement in part.body:
            for name in statement.reads:
                readers[name].append(statement)
    waiting = [s for part in parts for s in part.body if marked(s)]
    found: set[str] = set()
    while waiting:
        for name in waiting.pop().binds - found:
            found.add(name)
            waiting += readers[name]
    return found


def _speaking(parts: Sequence[_Part], function: str) -> Callable[[Statement], bool]:
    """Whether a statement only tries the program out."""
    names = _reaching(parts, lambda s: s.asks or s.ends or function in s.reads) | {function}

    def speaks(statement: Statement) -> bool:
        direct = statement.prints or statement.checks or statement.asks or statement.ends
        return direct or bool(statement.reads & names)

    return speaks


def _without_trials(
    body: Sequence[Statement], needed: set[Statement], speaks: Callable[[Statement], bool]
) -> Iterator[Statement]:
    lost: set[str] = set()
    for statement in body:
        if statement.definition or statement in needed:
            lost -= statement.binds
            yield statement
        # What is made of the results of a trial goes with it.
        elif speaks(statement) or statement.reads_now & lost:
            lost |= statement.binds
        else:
            lost -= statement.binds
            yield statement


def _assembled(
    parts: Sequence[_Part],
    index: int,
    source: _Source,
    needed: set[Statement],
    kept: Sequence[Statement],
) -> Assembled:
    base = parts[index]
    wanted = _names(s.reads for s in kept)
    used = needed | source.closure(wanted, lambda s: s.definition or not (s.asks or s.ends))
    others = [s for i, part in enumerate(parts) if i != index for s in part.body]
    chosen = [s for s in others if s in used]
    bound = _names(s.binds for s in (*chosen, *kept)) | _BUILTIN
    if not _names(s.reads for s in (*chosen, *kept)) <= bound:
        # Nobody knows what `from math import *` brings.
        chosen = [s for s in others if s in used or s.everything]
    if not chosen and len(kept) == len(base.body):
        return Assembled(base.text, base.text)
    whole = [*chosen, *kept]
    whole.sort(key=lambda s: not s.future)
    return Assembled("\n".join(s.source for s in whole), base.text)
