"""Rows with tests in the forms that data sets have: each is run, or refused by name."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.unisd_core.tasks.code.samples import HUMANEVAL, SANITIZED
from tests.unisd_core.tasks.custom.rows import task_of
from unisd_core.common.errors import UserError

ADD = "def add(a, b):\n    if a is None:\n        raise ValueError('no a')\n    return a + b"
WRONG = "def add(a, b):\n    return a - b"
MORE = (
    "\ndef sub(a, b):\n    return a - b\nclass Stack:\n    def __init__(self):\n        self.n = 0"
)
UNIT = """import unittest
class AddTest(unittest.TestCase):
    def setUp(self):
        self.two = 2
    def test_add(self):
        self.assertEqual(add(self.two, 3), 5)
    def test_error(self):
        with self.assertRaises(ValueError):
            add(None, 1)
"""
CLASS = """class TestAdd:
    @classmethod
    def setup_class(cls):
        cls.one = 1
    def setup_method(self, method):
        self.two = 2
    def teardown_method(self):
        del self.two
    def test_add(self):
        assert add(self.one, self.two) == 3
"""
FORMS: dict[str, Any] = {
    "asserts": "assert add(1, 2) == 3",
    "function": "def test_add():\n    assert add(1, 2) == 3",
    "two functions": "def test_type():\n    assert add(1, 2) is not None\n"
    "def test_add():\n    assert add(1, 2) == 3",
    "function that is called too": "def test_add():\n    assert add(1, 2) == 3\ntest_add()",
    "defaults": "def test_add(a=1):\n    assert add(a, 2) == 3",
    "async": "async def test_add():\n    assert add(1, 2) == 3",
    "set up and tear down": "DATA = []\ndef setup_function():\n    DATA.append(1)\n"
    "def teardown_function(function):\n    DATA.clear()\ndef test_add():\n"
    "    assert add(DATA[0], 2) == 3\ndef test_again():\n    assert len(DATA) == 1",
    "set up of the module": "def setup_module(module):\n    module.one = 1\n"
    "def test_add():\n    assert add(one, 2) == 3",
    "class": CLASS,
    "unittest": UNIT,
    "unittest that runs itself": f"{UNIT}\nif __name__ == '__main__':\n    unittest.main()",
    "unittest that runs itself at once": f"{UNIT}\nunittest.main()",
    "unittest, imported name": UNIT.replace("import unittest", "from unittest import TestCase")
    .replace("unittest.TestCase", "TestCase"),
    "unittest, own base": f"{UNIT}\nclass Base(unittest.TestCase):\n    pass\n"
    "class TestMore(Base):\n    def test_it(self):\n        self.assertEqual(add(1, 2), 3)",
    "unittest, async": "import unittest\nclass T(unittest.IsolatedAsyncioTestCase):\n"
    "    async def test_add(self):\n        self.assertEqual(add(1, 2), 3)",
    "unittest, set up of the module": "import unittest\none = None\ndef setUpModule():\n"
    "    global one\n    one = 1\nclass T(unittest.TestCase):\n    def test_add(self):\n"
    "        self.assertEqual(add(one, 2), 3)",
    "subtests": "import unittest\nclass T(unittest.TestCase):\n    def test_add(self):\n"
    "        for a in (1, 2):\n            with self.subTest(a=a):\n"
    "                self.assertEqual(add(a, 2), a + 2)",
    "behind a guard": "if __name__ == '__main__':\n    assert add(1, 2) == 3",
    "guard that calls": "def checks():\n    assert add(1, 2) == 3\n"
    "if __name__ == '__main__':\n    checks()",
    "pytest runs itself": "import pytest\ndef test_add():\n    assert add(1, 2) == 3\n"
    "if __name__ == '__main__':\n    pytest.main([__file__])",
    "raises": "import pytest\ndef test_add():\n"
    "    with pytest.raises(ValueError, match='no a') as e:\n"
    "        add(None, 1)\n    assert 'no' in str(e.value)\n    assert add(1, 2) == 3",
    "approx": "import pytest\ndef test_add():\n    assert add(0.1, 0.2) == pytest.approx(0.3)\n"
    "    assert [add(0.1, 0.2), 1] == pytest.approx([0.3, 1])",
    "parametrize": "import pytest\n@pytest.mark.parametrize('a, b, c', [(1, 2, 3), (2, 2, 4)])\n"
    "def test_add(a, b, c):\n    assert add(a, b) == c",
    "parametrize twice": "import pytest\n"
    "@pytest.mark.parametrize('a', [1, pytest.param(2, id='two')])\n"
    "@pytest.mark.parametrize(['b'], [(3,), (4,)])\n"
    "def test_add(a, b):\n    assert add(a, b) == a + b",
    "other mark": "import pytest\n@pytest.mark.slow\ndef test_add():\n    assert add(1, 2) == 3",
    "from pytest": "from pytest import raises\ndef test_add():\n    with raises(ValueError):\n"
    "        add(None, 1)",
    "from solution": "from solution import add\ndef test_add():\n    assert add(1, 2) == 3",
    "from main, all": "from main import *\nassert add(1, 2) == 3",
    "from a package": "from src.solution import add\nassert add(1, 2) == 3",
    "under another name": "from solution import add as plus\nassert plus(1, 2) == 3",
    "import solution": "import solution\ndef test_add():\n    assert solution.add(1, 2) == 3",
    "import as": "import solution as s\nassert s.add(1, 2) == 3",
    "patched": "from unittest.mock import patch\nimport solution\n"
    "with patch('solution.add') as a:\n"
    "    solution.add()\nassert a.called and solution.add(1, 2) == 3",
    "future import": "from __future__ import annotations\n"
    "def test_add():\n    assert add(1, 2) == 3",
    "console": ">>> add(1, 2)\n3\n"
    ">>> add(None, 1)\nTraceback (most recent call last):\nValueError: no a",
    "in a branch": "try:\n    import unittest\nexcept ImportError:\n    pass\nelse:\n"
    "    class T(unittest.TestCase):\n        def test_add(self):\n"
    "            self.assertEqual(add(1, 2), 3)",
    "own base of another name": f"{UNIT.replace('5', 'add(2, 3)')}\nclass More(AddTest):\n"
    "    def test_more(self):\n        self.assertEqual(add(1, 2), 3)",
    "inherited": "class Base:\n    def test_add(self):\n        assert add(1, 2) == 3\n"
    "class TestAdd(Base):\n    pass",
    "data beside tests": "from typing import NamedTuple\nclass TestData(NamedTuple):\n    a: int\n"
    "class TestAdd:\n    def test_add(self):\n        assert add(TestData(1).a, 2) == 3",
    "guard with both": f"{UNIT.replace('5', 'add(2, 3)')}\nif __name__ == '__main__':\n"
    "    assert add(1, 2) == 3\n    unittest.main()",
    "doctest": "'''\n>>> add(1, 2)\n3\n'''\nimport doctest\ndoctest.testmod()",
    "doctest of a function": "def examples():\n    '''\n    >>> add(1, 2)\n    3\n    '''",
    "check that is called": "def check(candidate):\n    assert candidate(1, 2) == 3\ncheck(add)",
    "check": "METADATA = {}\ndef check(candidate):\n    assert candidate(1, 2) == 3",
    "candidate of a test": "def test_add(candidate):\n    assert candidate(1, 2) == 3",
    "passed on": "assert list(map(add, [1], [2])) == [3]",
    "list of asserts": ["assert add(1, 2) == 3", "assert add(0, 2) == 2"],
    "list as text": json.dumps(["assert add(1, 2) == 3"]),
    "calls": {"fn_name": "add", "inputs": [[1, 2], [0, 2]], "outputs": [3, 2]},
    "more names": "assert sub(3, add(1, 2)) == 0 and Stack().n == 0",
    "a helper of the same name": "from solution import add\ndef sub(x):\n    return 7\n"
    "assert add(1, 2) == 3",
}  # fmt: skip


def row_of(tests: Any, reference: str = ADD + MORE, **fields: Any) -> dict[str, Any]:
    return {"prompt": "Add.", "reference": f"```python\n{reference}\n```", "tests": tests, **fields}


@pytest.mark.parametrize("form", FORMS)
def test_tests_in_any_form_are_run(tmp_path: Path, form: str) -> None:
    asks = form in ("check", "candidate of a test")
    row = row_of(FORMS[form], entry_point="add" if asks else "")
    task, (held,) = task_of(tmp_path, "python_tests", row)
    answers = [
        f"```python\n{ADD}\n{MORE}\n```",
        f"```python\n{WRONG}\n{MORE}\n```",
        "```python\ndef add(a, b):\n    raise SystemExit\n```",
        "```python\ndef add(a, b):\n    import unittest\n    raise unittest.SkipTest('no')\n```",
    ]
    scores = task.score_many([held] * len(answers), answers)
    assert [score.correct for score in scores] == [True, False, False, False]


def test_tests_that_the_program_brings_are_not_run(tmp_path: Path) -> None:
    row = row_of(FORMS["function"] + "\n" + UNIT)
    task, (held,) = task_of(tmp_path, "python_tests", row)
    hooks = ("setup_module", "setup_function", "setUpModule", "tearDownModule", "test_mine")
    own = "\n".join(f"def {name}():\n    raise ValueError" for name in hooks)
    assert task.score(held, f"```python\n{ADD}\n{own}\n```").correct


PASSES = "the tests pass whatever the program does"
REFUSED: dict[str, tuple[Any, str]] = {
    "checked by nobody": ("def verify():\n    assert add(1, 2) == 4", PASSES),
    "caught": ("try:\n    assert add(1, 2) == 3\nexcept Exception:\n    pass", PASSES),
    "caught in a test": (
        "def test_add():\n    try:\n        assert add(1, 2) == 3\n"
        "    except Exception as e:\n        print(e)",
        PASSES,
    ),
    "called and compared by nobody": ("import threading\nthreading.Thread(target=add)", PASSES),
    "in a dead branch": ("if False:\n    assert add(1, 2) == 3", PASSES),
    "any error is right": (
        "import pytest\ndef test_add():\n    with pytest.raises(Exception):\n        add(None, 1)",
        PASSES,
    ),
    "lambda": ("check_add = lambda: add(1, 2) == 3", PASSES),
    "data": ("cases = [(1, 2, 3)]", "calls nothing that the reference defines"),
    "builtins": ("assert sum([1, 2]) == 3", "calls nothing that the reference defines"),
    "own function": (
        "def test_it():\n    assert plus(1, 2) == 3\ndef plus(a, b):\n    return a + b",
        "calls nothing",
    ),
    "wrong": ("assert add(1, 2) == 4", "does not score the reference as right"),
    "wrong in a test": ("def test_add():\n    assert add(1, 2) == 4", "does not score"),
    "wrong in a class": (UNIT.replace("5", "6"), "does not score"),
    "wrong in the second": (
        "def test_a():\n    assert add(1, 2) == 3\ndef test_b():\n    assert add(1, 2) == 4",
        "does not score",
    ),
    "skipped": (
        UNIT.replace("    def test_add", "    @unittest.skip('no')\n    def test_add"),
        "does not score",
    ),
    "class without a test": (
        "import unittest\nclass T(unittest.TestCase):\n    def add_test(self):\n        add(1, 2)",
        "does not score",
    ),
    "two of one name": (
        ["def test():\n    assert add(1, 2) == 3", "def test():\n    assert add(2, 2) == 4"],
        "two tests called test",
    ),
    "yields": ("def test_add():\n    yield add(1, 2)", "does not score"),
    "fixture": ("def test_add(tmp_path):\n    assert add(1, 2) == 3", "test_add takes 'tmp_path'"),
    "own fixture": (
        "import pytest\n@pytest.fixture\ndef one():\n    return 1\n"
        "def test_add(one):\n    assert add(one, 2) == 3",
        "uses pytest.fixture",
    ),
    "fixture of a class": (
        "class TestAdd:\n    def test_add(self, capsys):\n        assert add(1, 2) == 3",
        "test_add takes 'capsys'",
    ),
    "mark that skips": (
        "import pytest\n@pytest.mark.skip\ndef test_add():\n    assert add(1, 2) == 3",
        "uses pytest.mark.skip",
    ),
    "package": ("import numpy as np\nassert np.all(add(1, 2) == 3)", "imports numpy"),
    "package, from": ("from numpy import array\nassert add(1, 2) == 3", "imports numpy"),
    "relative import": ("from .solution import add\nassert add(1, 2) == 3", "relative import"),
    "not Python": ("assert add(1, 2) ==", "is not Python"),
    "empty list": ([], "must be text, a list of asserts, or inputs with outputs"),
    "number": (3, "must be text, a list of asserts"),
    "mixed list": (["assert add(1, 2) == 3", 3], "must be text, a list of asserts"),
    "calls without results": (
        {"fn_name": "add", "inputs": [[1, 2]], "outputs": []},
        "as many results",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_tests_that_would_not_run_as_meant_are_refused(tmp_path: Path, name: str) -> None:
    tests, message = REFUSED[name]
    with pytest.raises(UserError, match=r"train\.jsonl:1: ") as caught:
        task_of(tmp_path, "python_tests", row_of(tests))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_of_published_shape_are_read_by_the_same_metric(tmp_path: Path) -> None:
    human, mbpp = {**HUMANEVAL}, {**SANITIZED}
    human["reference"] = human["prompt"] + human["canonical_solution"]
    mbpp["reference"] = mbpp["code"]
    leet = {
        "prompt": "Add.",
        "reference": "class Solution:\n    def add(self, a, b):\n        return a + b",
        "test": "def check(candidate):\n    assert candidate(a=1, b=2) == 3",
        "entry_point": "Solution().add",
    }
    task, rows = task_of(tmp_path, "python_tests", human, mbpp, leet)
    assert [row.details["function"] for row in rows] == ["above", "root", "Solution"]
    assert not task.score(rows[0], "def above(numbers):\n    return numbers").correct
    assert task.score(rows[1], "def root(x):\n    return x ** 0.5").correct
    assert not task.score(rows[1], "def root(x):\n    return x").correct
    assert not task.score(rows[2], leet["reference"].replace("+", "-")).correct


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"entry_point": "minus"}, "'entry_point' is 'minus'"),
        ({"entry_point": "(add"}, "'entry_point' is '(add'"),
        ({"reference": ADD + MORE}, "may be about Stack or add or sub; name one in a field"),
    ],
)
def test_an_entry_point_must_be_clear(tmp_path: Path, fields: dict[str, str], message: str) -> None:
    row = {"prompt": "Add.", "reference": ADD, "tests": FORMS["check"], **fields}
    with pytest.raises(UserError) as caught:
        task_of(tmp_path, "python_tests", row)
    assert message in str(caught.value)


def test_fields_that_compete_are_named(tmp_path: Path) -> None:
    row = {"prompt": "Add.", "reference": ADD, "test": "add(1, 2)", "test_list": ["add(1, 2)"]}
    with pytest.raises(UserError, match="fields test and test_list both hold tests"):
        task_of(tmp_path, "python_tests", row)


def test_a_wrong_reference_keeps_what_stands_around_the_program(tmp_path: Path) -> None:
    reference = f"So:\n```python\n{ADD}\n\nprint(add(1, 2))\n```\nDone."
    row = {"prompt": "Add.", "reference": reference, "tests": "assert add(1, 2) == 3"}
    task, (held,) = task_of(tmp_path, "python_tests", row)
    wrong = task.wrong_reference(held, random.Random(0))
    assert wrong is not None
    assert (
        wrong.reference.startswith("So:\n```python\ndef add(") and wrong.reference[-5:] == "Done."
    )
