"""Runs inside the sandbox: the tests of a row, collected as pytest, unittest and doctest would.

``program`` passes this file's text to the interpreter that holds the program. Whatever does not
pass raises, and so does a test that did not run.
"""

import sys
import types
from typing import Any

HOOKS = ("setup_module", "teardown_module", "setup_function", "teardown_function",
         "setUpModule", "tearDownModule")  # fmt: skip


def run(plan: dict[str, Any]) -> None:
    """Run everything of ``plan`` (see ``collection.Plan``) against the module "program"."""
    program = sys.modules["program"]
    for name in plan["modules"]:
        sys.modules[name] = program
    tests = program
    if plan["modules"]:
        # Tests that import the program have names of their own.
        tests = types.ModuleType("tests")
        vars(tests).update(vars(program))
    space = vars(tests)
    space["__name__"] = "__main__" if plan["main"] else "tests"
    space["__file__"] = "tests.py"
    for name in HOOKS:
        # Those of the program's own tests.
        space.pop(name, None)
    sys.modules[space["__name__"]] = tests
    if plan["stand_in"]:
        sys.modules["pytest"] = types.ModuleType("pytest")
        exec(plan["stand_in"], vars(sys.modules["pytest"]))
    if plan["unittest"]:
        import unittest

        vars(unittest)["main"] = _nothing
    if plan["examples"]:
        import doctest

        vars(doctest)["testmod"] = _nothing
    exec(compile(plan["source"], "<tests>", "exec", dont_inherit=True), space)
    if plan["check"]:
        space["check"](eval(plan["entry"], space))
    _functions(space, plan["functions"], plan["entry"])
    classes = [space[name] for name in plan["classes"]]
    ran = _cases([one for one in classes if _is_case(one)])
    ran += sum(_methods(one) for one in classes if not _is_case(one))
    if classes and not ran:
        raise AssertionError("no class has a test")
    for text in plan["examples"]:
        _examples(text, space)


def _nothing(*args: Any, **kwargs: Any) -> None:
    """The tests are run by ``run``, not by themselves."""


def _is_case(one: type) -> bool:
    # Only where the tests import it: loading it takes longer than most tests.
    unittest = sys.modules.get("unittest")
    return unittest is not None and issubclass(one, unittest.TestCase)


def _functions(space: dict[str, Any], names: list[str], entry: str) -> None:
    if not names:
        return
    _if_there(space.get("setup_module"), sys.modules[space["__name__"]])
    for name in names:
        _if_there(space.get("setup_function"), space[name])
        try:
            _each(space[name], {"candidate": entry and eval(entry, space)})
        finally:
            _if_there(space.get("teardown_function"), space[name])
    _if_there(space.get("teardown_module"), sys.modules[space["__name__"]])


def _methods(one: type) -> int:
    names = [name for name in dir(one) if name.startswith("test") and callable(getattr(one, name))]
    if not names:
        return 0
    _if_there(getattr(one, "setup_class", None), one)
    for name in names:
        instance = one()
        method = getattr(instance, name)
        _if_there(getattr(instance, "setup_method", None), method)
        try:
            _each(method, {})
        finally:
            _if_there(getattr(instance, "teardown_method", None), method)
    _if_there(getattr(one, "teardown_class", None), one)
    return len(names)


def _each(test: Any, known: dict[str, Any]) -> None:
    """One test with every set of its parameters."""
    code = getattr(test, "__code__", None)
    asked = code.co_varnames[: code.co_argcount] if code else ()
    given = {name: value for name, value in known.items() if name in asked}
    cases = getattr(test, "cases", [{}])
    if not cases:
        raise AssertionError(f"{test.__name__} has no parameters to run with")
    for case in cases:
        _wait(test(**given, **case))


def _wait(result: Any) -> None:
    """Run what an ``async`` test gives; one that yields has not run."""
    if isinstance(result, types.CoroutineType):
        import asyncio

        asyncio.run(result)
    elif isinstance(result, types.GeneratorType | types.AsyncGeneratorType):
        raise TypeError("a test that yields does not run")


def _if_there(hook: Any, *args: Any) -> None:
    if hook is not None:
        code = hook.__code__
        _wait(hook(*args[: code.co_argcount - hasattr(hook, "__self__")]))


def _cases(classes: list[Any]) -> int:
    if not classes:
        return 0
    import unittest

    loader, result = unittest.TestLoader(), unittest.TestResult()
    suites = [loader.loadTestsFromTestCase(one) for one in classes]
    unittest.TestSuite(suites).run(result)
    for _, text in [*result.errors, *result.failures]:
        raise AssertionError(text.strip().splitlines()[-1])
    if not result.wasSuccessful() or result.skipped or result.expectedFailures:
        raise AssertionError("a test was skipped, or is to fail")
    return result.testsRun


def _examples(text: str, space: dict[str, Any]) -> None:
    import doctest

    test = doctest.DocTestParser().get_doctest(text, dict(space), "tests", None, 0)
    result = doctest.DocTestRunner(verbose=False).run(test, out=_nothing)
    if result.failed or not result.attempted:
        raise AssertionError(f"{result.failed} of {result.attempted} examples failed")
