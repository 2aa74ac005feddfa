"""Suite: the tests of a row with the name that they call, and programs to run them on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from unisd_core.common.errors import UserError, shorten
from unisd_core.sandbox import Program
from unisd_core.tasks.code.extraction import find_code, find_script, main_functions
from unisd_core.tasks.code.source import parse
from unisd_core.tasks.code.statements import statements
from unisd_core.tasks.code.suites.collection import Plan, collect
from unisd_core.tasks.code.suites.fields import Streams, read_tests
from unisd_core.tasks.data import Record

_RUN = """(lambda run, space: (run({runner!r}, space), space["run"]({plan!r})))(
    __import__("builtins").exec, {{"__name__": "runner"}})"""
"""Keeps the names of the runner apart from those of the program and its tests."""


def suite_details(record: Record, wanted: str) -> dict[str, Any]:
    """What is kept of a row: ``code``, the program in its answer ``wanted``; its ``function``, ""
    for a script; names that the tests ``also`` use; and the ``suite`` to run.

    Raises UserError naming the row where the tests cannot be run as meant or call nothing that
    the answer defines.
    """
    tests = read_tests(record)
    if isinstance(tests, Streams):
        script = find_script(wanted)
        if script is None:
            raise UserError(
                f"{record.place}: the answer must be a program that reads its input and prints; "
                "fix the row"
            )
        return {"function": "", "also": (), "code": script.code, "suite": vars(tests)}
    plan = collect(record.place, tests)
    entry = record.optional_text("entry_point").strip()
    function = _function(record, plan, wanted, entry)
    found = find_code(wanted, function, plan.read)
    assert found is not None
    defined = {name for one in statements(found.code) or () for name in one.binds}
    _refuse_packages(record, plan, defined)
    suite: dict[str, Any] = {"source": plan.source}
    if not plan.plain:
        kept = ("functions", "classes", "examples", "check", "main", "pytest", "unittest")
        suite |= {name: getattr(plan, name) for name in kept}
        suite |= {"modules": _with_parents(plan), "entry": entry or function}
    also = tuple(name for name in plan.read if name in defined and name != function)
    return {"function": function, "also": also, "code": found.code, "suite": suite}


def program(suite: Mapping[str, Any], code: str) -> Program:
    """``code`` with the tests of ``suite``."""
    if "inputs" in suite:
        return Program(f"SCRIPT = {code!r}", f"{_text('streams.py')}\nrun({dict(suite)!r})")
    if "entry" not in suite:
        return Program(code, suite["source"])
    plan = {**suite, "stand_in": _text("stand_in.py") if suite["pytest"] else ""}
    return Program(code, _RUN.format(runner=_text("runner.py"), plan=plan))


def failing_code(suite: Mapping[str, Any], code: str) -> str:
    """What tests that see anything refuse: ``code`` with functions and classes that raise when
    they are called; for a script one that does nothing."""
    if "inputs" in suite:
        return "pass"
    body = statements(code) or []
    imports = [one.source for one in body if one.imports]
    names = sorted({name for one in body if not one.imports for name in one.binds})
    refusal = "def refuse(*args, **kwargs):\n    raise NotImplementedError"
    return "\n".join([*imports, refusal, *(f"{name} = refuse" for name in names)])


def _function(record: Record, plan: Plan, wanted: str, entry: str) -> str:
    """The name that the program must define."""
    if entry:
        root = re.match(r"[^\W\d]\w*", entry)
        if root is None or find_code(wanted, root[0]) is None or parse(entry) is None:
            raise UserError(
                f"{record.place}: field 'entry_point' is {shorten(repr(entry), 40)}, which the "
                "reference does not define; fix the row"
            )
        return root[0]
    for name in dict.fromkeys([*plan.imported, *plan.called, *plan.read]):
        if not (plan.check and name == "check") and find_code(wanted, name) is not None:
            return name
    found = main_functions(wanted) if plan.asks else []
    if len(found) > 1:
        raise UserError(
            f"{record.place}: field 'tests' may be about {shorten(' or '.join(found), 80)}; name "
            "one in a field 'entry_point'"
        )
    if not found:
        raise UserError(
            f"{record.place}: field 'tests' calls nothing that the reference defines; fix the row"
        )
    return found[0]


def _refuse_packages(record: Record, plan: Plan, defined: set[str]) -> None:
    for module, names in plan.modules.items():
        if not set(names) <= defined:
            raise UserError(
                f"{record.place}: field 'tests' imports {module}, which is neither in the standard "
                "library nor the program; write the tests without it"
            )


def _with_parents(plan: Plan) -> list[str]:
    """The modules and the packages that they are in."""
    parts = [module.split(".") for module in plan.modules]
    return sorted({".".join(one[: end + 1]) for one in parts for end in range(len(one))})


@cache
def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
