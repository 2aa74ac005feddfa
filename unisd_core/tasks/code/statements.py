"""Statement: one statement at the top level of a program, with the names it binds and reads."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterator
from dataclasses import dataclass

from unisd_core.tasks.code.source import UNREADABLE, parse

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEFINITIONS = (*_FUNCTIONS, ast.ClassDef, ast.Import, ast.ImportFrom)
_IMPORTS = (ast.Import, ast.ImportFrom)
_AT_ONCE = ("listcomp", "setcomp", "dictcomp", "genexpr")
"""Scopes that run where they stand, as class bodies do."""
_INPUT_NAMES = {"input", "raw_input"}
_ENDS = {
    ("sys", "exit"), ("os", "_exit"), ("unittest", "main"), ("pytest", "main"),
    ("doctest", "testmod"),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Statement:
    """``binds``: names that get a value. ``changes``: those, and names whose object is changed.
    ``reads_now``: global names read as the statement runs, ``reads``: also those that its
    functions read when they are called. ``everything``: an import of ``*``. ``future``: one from
    ``__future__``. ``hollow``: a function that is only sketched. ``prints``, ``asks`` (reads the
    standard input) and ``ends`` (leaves the interpreter) say what it or a function in it does,
    ``checks`` that it asserts as it runs.
    """

    source: str
    definition: bool
    imports: bool
    everything: bool
    future: bool
    hollow: bool
    binds: frozenset[str]
    changes: frozenset[str]
    reads_now: frozenset[str]
    reads: frozenset[str]
    prints: bool
    checks: bool
    asks: bool
    ends: bool


def statements(code: str) -> list[Statement] | None:
    """The statements at the top level of ``code``, or None where it is not Python."""
    tree = parse(code)
    if tree is None:
        return None
    lines = code.split("\n")
    try:
        return [_statement(node, _segment(lines, node)) for node in tree.body]
    except UNREADABLE:
        return None


def _segment(lines: list[str], node: ast.stmt) -> str:
    first, column = node.lineno, node.col_offset
    decorators = getattr(node, "decorator_list", [])
    if decorators:
        first, column = decorators[0].lineno, 0
    kept = lines[first - 1 : node.end_lineno]
    # Columns count bytes; the end first, as both may be in one line.
    kept[-1] = kept[-1].encode()[: node.end_col_offset].decode()
    kept[0] = kept[0].encode()[column:].decode()
    return "\n".join(kept)


def _statement(node: ast.stmt, source: str) -> Statement:
    table = symtable.symtable(source, "<code>", "exec")
    symbols = table.get_symbols()
    binds = {s.get_name() for s in symbols if s.is_assigned() or s.is_imported()}
    now = {s.get_name() for s in symbols if s.is_referenced()}
    later: set[str] = set()
    for scope, at_once in _scopes(table):
        names = {s.get_name() for s in scope.get_symbols() if s.is_global()}
        (now if at_once else later).update(names)
    definition = isinstance(node, _DEFINITIONS)
    found = list(ast.walk(node))
    names = {one.id for one in found if isinstance(one, ast.Name)}
    dotted = {
        (one.value.id, one.attr)
        for one in found
        if isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name)
    }
    asserts = any(isinstance(one, ast.Assert) for one in found)
    return Statement(
        source=source,
        definition=definition,
        imports=isinstance(node, _IMPORTS),
        everything=isinstance(node, ast.ImportFrom) and node.names[0].name == "*",
        future=isinstance(node, ast.ImportFrom) and node.module == "__future__",
        hollow=isinstance(node, _FUNCTIONS) and all(map(_sketches, node.body)),
        binds=frozenset(binds),
        changes=frozenset(binds if definition else binds | set(_changed(found))),
        reads_now=frozenset(now),
        reads=frozenset(now | later),
        prints="print" in names or any(_is_output(one) for one in found),
        checks=not definition and asserts,
        asks=bool(names & _INPUT_NAMES) or any(_opens_input(one) for one in found),
        ends=bool(names & {"exit", "quit", "SystemExit"} or dotted & _ENDS),
    )


def _scopes(table: symtable.SymbolTable) -> Iterator[tuple[symtable.SymbolTable, bool]]:
    """Every scope within ``table``, and whether it runs as the statement does."""
    waiting = [(child, True) for child in table.get_children()]
    while waiting:
        scope, at_once = waiting.pop()
        at_once = at_once and (scope.get_type() == "class" or scope.get_name() in _AT_ONCE)
        yield scope, at_once
        waiting += [(child, at_once) for child in scope.get_children()]


def _changed(nodes: list[ast.AST]) -> Iterator[str]:
    """Names of objects that get an item or attribute, or a method of which is called."""
    for node in nodes:
        match node:
            case ast.Subscript(ctx=ast.Store() | ast.Del()):
                owner: ast.expr = node
            case ast.Attribute(ctx=ast.Store() | ast.Del()):
                owner = node
            case ast.Call(func=ast.Attribute() as method):
                owner = method
            case _:
                continue
        while isinstance(owner, ast.Attribute | ast.Subscript):
            owner = owner.value
        if isinstance(owner, ast.Name):
            yield owner.id


def _sketches(node: ast.stmt) -> bool:
    """Whether ``node`` stands for a body that is not written: a docstring, ``...``, ``pass``."""
    match node:
        case ast.Pass() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Raise(exc=ast.Name(id=name) | ast.Call(func=ast.Name(id=name))):
            return name == "NotImplementedError"
    return False


def _is_output(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(attr="stdout") | ast.alias(name="stdout"):
            return True
    return False


def _opens_input(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(attr="stdin") | ast.alias(name="stdin"):
            return True
        case ast.Call(func=ast.Name(id="open"), args=[ast.Constant(value=0 | "/dev/stdin"), *_]):
            return True
    return False
