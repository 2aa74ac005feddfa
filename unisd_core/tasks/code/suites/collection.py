"""Plan: what is run of a text of tests, read from its syntax; tests that would not run as meant
are refused."""

from __future__ import annotations

import ast
import doctest
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from unisd_core.common.errors import UserError
from unisd_core.tasks.code.source import parse

_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPE = (*_FUNCTION, ast.ClassDef, ast.Lambda)
_SERVED = {"raises", "approx", "param", "fail", "main", "mark"}
_NO_MARK = {"skip", "skipif", "xfail", "usefixtures", "filterwarnings"}
_RUNS_ITSELF = {("unittest", "main"), ("pytest", "main"), ("doctest", "testmod")}


@dataclass
class Plan:
    """What the runner does, in this order: run ``source``, call ``check`` with the ``entry``
    point, run test ``functions``, test ``classes`` and the ``examples`` of docstrings.

    ``modules`` are the names under which tests import the program, with what they take from it.
    ``called`` are names that the tests call, the outermost first; ``read`` are all that they read.
    ``asks``: the function under test is handed to them. ``main``: what is behind
    ``if __name__ == "__main__"`` runs too.
    """

    source: str
    functions: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)
    check: bool = False
    asks: bool = False
    main: bool = False
    pytest: bool = False
    unittest: bool = False
    modules: dict[str, list[str]] = field(default_factory=dict)
    called: list[str] = field(default_factory=list)
    read: list[str] = field(default_factory=list)

    @property
    def imported(self) -> list[str]:
        return [name for names in self.modules.values() for name in names]

    @property
    def plain(self) -> bool:
        """Whether it is enough to run the source."""
        collected = self.functions or self.classes or self.examples or self.check
        return not (collected or self.main or self.pytest or self.unittest or self.modules)


def collect(place: str, source: str) -> Plan:
    """The plan for ``source``, Python or the examples of a console session.

    Raises UserError naming ``place`` where it is neither, or asks for what is not served:
    fixtures, marks that skip, other packages.
    """
    tree = parse(source)
    if tree is None:
        if not _calls_of_examples(source):
            raise UserError(f"{place}: field 'tests' is not Python; fix the row")
        plan = Plan("", examples=[source])
    else:
        plan = Plan(source)
        _imports(place, tree, plan)
        _collected(place, tree, plan)
    trees: list[ast.AST] = [tree] if tree else []
    for example in plan.examples:
        trees += _calls_of_examples(example)
    plan.called = list(dict.fromkeys(name for one in trees for name in _called(one, plan)))
    plan.read = sorted(
        {n.id for one in trees for n in ast.walk(one) if isinstance(n, ast.Name)}
        | set(plan.imported)
    )
    return plan


def _collected(place: str, tree: ast.Module, plan: Plan) -> None:
    at_once = list(_outside_functions(tree))
    calls = [node for node in at_once if isinstance(node, ast.Call)]
    names = {node.id for node in at_once if isinstance(node, ast.Name)}
    called = {node.func.id for node in calls if isinstance(node.func, ast.Name)}
    dotted = {_dotted(node.func) for node in calls}
    leaves = ("sys", "exit") in dotted or names & {"exit", "quit", "SystemExit"}
    plan.main = "__name__" in names and not (leaves and dotted & _RUNS_ITSELF)
    cases: set[str] = set()
    for node in at_once:
        if isinstance(node, _FUNCTION):
            if node.name == "check" and "check" not in called and _wanted(node):
                plan.check = plan.asks = True
            elif node.name.startswith("test") and not (node.name in called and _wanted(node)):
                plan.functions.append(node.name)
                plan.asks |= "candidate" in _wanted(node)
                _refuse_fixtures(place, node, {"candidate"})
        elif isinstance(node, ast.ClassDef):
            bases = {_last(base) for base in node.bases}
            tests = [n for n in node.body if isinstance(n, _FUNCTION) and n.name[:4] == "test"]
            _refuse_twins(place, [method.name for method in tests])
            if any(base in cases or base.endswith("TestCase") for base in bases):
                cases.add(node.name)
                plan.classes.append(node.name)
            elif node.name.startswith("Test"):
                plan.classes.append(node.name)
                for method in tests:
                    _refuse_fixtures(place, method, {"self", "cls"})
    _refuse_twins(place, [*plan.functions, *plan.classes])
    for found in ast.walk(tree):
        if isinstance(found, (ast.Module, ast.ClassDef, *_FUNCTION)):
            text = ast.get_docstring(found) or ""
            if ">>> " in text:
                plan.examples.append(text)


def _outside_functions(tree: ast.Module) -> list[ast.AST]:
    """What runs as the module does, in the order of the text; of functions and classes only the
    node itself."""
    found: list[ast.AST] = []
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        found.append(node)
        if not isinstance(node, _SCOPE):
            waiting += reversed(list(ast.iter_child_nodes(node)))
    return found


def _refuse_twins(place: str, names: list[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise UserError(
                f"{place}: field 'tests' has two tests called {name}, of which one would never "
                "run; rename it"
            )


def _wanted(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Names of the arguments that a call must give."""
    places = [*node.args.posonlyargs, *node.args.args]
    given = len(places) - len(node.args.defaults)
    named = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    return [a.arg for a in places[:given]] + [a.arg for a, default in named if default is None]


def _refuse_fixtures(
    place: str, node: ast.FunctionDef | ast.AsyncFunctionDef, known: set[str]
) -> None:
    for decorator in node.decorator_list:
        match decorator:
            case ast.Call(func=ast.Attribute(attr="parametrize"), args=[names, *_]):
                for part in ast.walk(names):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        known = known | set(re.findall(r"\w+", part.value))
    for name in _wanted(node):
        if name not in known:
            raise UserError(
                f"{place}: field 'tests': {node.name} takes {name!r}, and fixtures are not served; "
                "write the value into the test"
            )


def _imports(place: str, tree: ast.Module, plan: Plan) -> None:
    """Fill in the modules of ``plan``: those that are not of the standard library."""
    stand_ins: set[str] = set()
    taken: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        owner, name = _dotted(node)
        taken.setdefault(owner, []).append(name)
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    if alias.name == "pytest":
                        stand_ins.add(alias.asname or alias.name)
                    elif _foreign(alias.name):
                        used = taken.get(alias.asname or alias.name, [])
                        plan.modules.setdefault(alias.name, []).extend(used)
            case ast.ImportFrom(module="pytest", names=names):
                for alias in names:
                    _refuse_unserved(place, alias.name)
                plan.pytest = True
            case ast.ImportFrom(level=level) if level:
                raise UserError(
                    f"{place}: field 'tests' has a relative import; write 'from solution import'"
                )
            case ast.ImportFrom(module=str(module), names=names) if _foreign(module):
                used = [alias.name for alias in names if alias.name != "*"]
                plan.modules.setdefault(module, []).extend(used)
    plan.pytest |= bool(stand_ins)
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=owner), attr=name) if owner in stand_ins:
                _refuse_unserved(place, name)
            case ast.Attribute(value=ast.Attribute(attr="mark") | ast.Name(id="mark"), attr=name):
                if plan.pytest and name in _NO_MARK:
                    _refuse_unserved(place, f"mark.{name}")
    plan.unittest = any(
        isinstance(n, ast.Import) and any(a.name.split(".")[0] == "unittest" for a in n.names)
        or isinstance(n, ast.ImportFrom) and (n.module or "").split(".")[0] == "unittest"
        for n in ast.walk(tree)
    )  # fmt: skip


def _foreign(module: str) -> bool:
    return module.split(".")[0] not in sys.stdlib_module_names


def _refuse_unserved(place: str, name: str) -> None:
    if name.split(".")[0] not in _SERVED or name.partition(".")[2] in _NO_MARK:
        raise UserError(
            f"{place}: field 'tests' uses pytest.{name}, and only raises, approx, parametrize and "
            "fail are served; write the test without it"
        )


def _called(tree: ast.AST, plan: Plan) -> Iterator[str]:
    """Names that are called, breadth first: of nested calls the outer one is under test."""
    renamed = {
        alias.asname: alias.name
        for n in ast.walk(tree)
        if isinstance(n, ast.ImportFrom) and n.module in plan.modules
        for alias in n.names
        if alias.asname
    }
    imported = set(plan.imported)
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)):
                yield renamed.get(name, name)
            case ast.Call(func=ast.Attribute(value=ast.Name(), attr=name)) if name in imported:
                yield name


def _calls_of_examples(text: str) -> list[ast.AST]:
    """The trees of the examples in ``text``; none where it has no example or one is no Python."""
    try:
        examples = doctest.DocTestParser().get_examples(text)
    except ValueError:
        return []
    trees: list[Any] = [parse(example.source) for example in examples]
    return [] if None in trees else trees


def _dotted(node: ast.AST) -> tuple[str, str]:
    match node:
        case ast.Attribute(value=ast.Name(id=owner), attr=name):
            return owner, name
    return "", ""


def _last(node: ast.expr) -> str:
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""
