"""Small mistakes made in a right program, one at a time (docs/method.md, "Wrong references")."""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Iterator
from functools import partial
from itertools import zip_longest

Edit = Callable[[], object]
"""Makes one mistake in the tree it was found in."""

_OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.FloorDiv,
    ast.FloorDiv: ast.Mod, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
_BUILTINS = {"min": "max", "max": "min", "any": "all", "all": "any"}


def mutants(code: str, rng: random.Random) -> Iterator[str]:
    """``code`` with one mistake, in random order and each at most once; the kinds take turns.

    ``code`` is in the form of ``source.written``, and so are its mutants. A mutant may still be
    right. Ends when no mistake is left.
    """
    orders = []
    for kind, edits in _edits(ast.parse(code)).items():
        order = [(kind, index) for index in range(len(edits))]
        rng.shuffle(order)
        orders.append(order)
    rng.shuffle(orders)
    seen = {code}
    for turn in zip_longest(*orders):
        for place in turn:
            if place is None:
                continue
            kind, index = place
            tree = ast.parse(code)
            _edits(tree)[kind][index]()
            mutant = ast.unparse(ast.fix_missing_locations(tree))
            if mutant not in seen:
                seen.add(mutant)
                yield mutant


def _edits(tree: ast.Module) -> dict[str, list[Edit]]:
    nodes = list(ast.walk(tree))
    rules = (_off_by_one, _wrong_operator, _missing_part, _wrong_return)
    return {rule.__name__: [edit for node in nodes for edit in rule(node)] for rule in rules}


def _off_by_one(node: ast.AST) -> Iterator[Edit]:
    match node:
        case ast.Constant(value=int(value)) if not isinstance(value, bool):
            for other in (value - 1, value + 1):
                yield partial(setattr, node, "value", other)
        case ast.Call(func=ast.Name(id="range"), args=[stop] | [_, stop, *_]):
            for operator in (ast.Sub(), ast.Add()):
                other_stop = ast.BinOp(stop, operator, ast.Constant(1))
                yield partial(node.args.__setitem__, min(1, len(node.args) - 1), other_stop)
        case ast.Slice(lower=None, step=None):
            yield partial(setattr, node, "lower", ast.Constant(1))


def _wrong_operator(node: ast.AST) -> Iterator[Edit]:
    match node:
        case ast.BinOp(op=op) | ast.AugAssign(op=op) | ast.BoolOp(op=op) if type(op) in _OPERATORS:
            yield partial(setattr, node, "op", _OPERATORS[type(op)]())
        case ast.Compare(ops=[op, *_]):
            yield partial(node.ops.__setitem__, 0, _OPERATORS[type(op)]())
        case ast.Name(id=name) if name in _BUILTINS:
            yield partial(setattr, node, "id", _BUILTINS[name])
        case ast.If(test=test) | ast.IfExp(test=test):
            yield partial(setattr, node, "test", _negated(test))


def _missing_part(node: ast.AST) -> Iterator[Edit]:
    """A branch, a step, a filter or half of a condition left out."""
    for field in ("body", "orelse"):
        statements = getattr(node, field, None)
        if not isinstance(statements, list):  # The body of a lambda or a conditional expression.
            continue
        for index, statement in enumerate(statements):
            match statement:
                case ast.If(orelse=[_, *_] as rest):
                    pass
                case ast.If() | ast.Expr():
                    rest = []
                case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in _names(value):
                    rest = []
                case _:
                    continue
            if len(statements) == 1 and not rest:
                rest = [ast.Pass()]
            yield partial(statements.__setitem__, slice(index, index + 1), rest)
    match node:
        case ast.comprehension(ifs=[_, *_]):
            yield partial(setattr, node, "ifs", [])
        case ast.BoolOp(values=values):
            for index in range(len(values)):
                yield partial(values.__delitem__, index)


def _wrong_return(node: ast.AST) -> Iterator[Edit]:
    """Another value of the function: a part of the right one, one that it returns elsewhere, an
    argument or a variable."""
    if not isinstance(node, ast.FunctionDef):
        return
    returns = [found for found in ast.walk(node) if isinstance(found, ast.Return)]
    values = [found.value for found in returns if found.value is not None]
    arguments = [argument.arg for argument in node.args.args]
    variables = [
        found.id
        for found in ast.walk(node)
        if isinstance(found, ast.Name) and isinstance(found.ctx, ast.Store)
    ]
    names = [ast.Name(name) for name in dict.fromkeys([*arguments, *variables])]
    for found in returns:
        match found.value:
            case None:
                continue
            case ast.Constant(value=bool(value)):
                parts: list[ast.expr] = [ast.Constant(not value)]
            case ast.Call(args=[first, *_]):
                parts = [first]
            case ast.Call(func=ast.Attribute(value=owner)):
                parts = [owner]
            case ast.Tuple(elts=elements) if len(elements) > 1:
                parts = [ast.Tuple(elements[::-1])]
            case _:
                parts = []
        for other in (*parts, *values, *names):
            yield partial(setattr, found, "value", other)


def _names(value: ast.expr) -> set[str]:
    return {found.id for found in ast.walk(value) if isinstance(found, ast.Name)}


def _negated(test: ast.expr) -> ast.expr:
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return test.operand
    return ast.UnaryOp(ast.Not(), test)
