"""What is collected of a text of tests, in time that its length allows."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unisd_core.common.errors import UserError
from unisd_core.tasks.code.suites.collection import collect


def test_asserts_alone_need_no_runner() -> None:
    plan = collect("row", "import math\nassert f(g(1)) == math.pi")
    assert plan.plain
    assert plan.called == ["f", "g"]


def test_every_kind_of_test_is_collected_in_order() -> None:
    plan = collect(
        "row",
        "import unittest\nfrom solution import f as g\nimport lib as l\n"
        "def test_b(): l.h()\ndef test_a(): g()\ndef helper(): pass\n"
        "class T(unittest.TestCase): pass\nclass TestX: pass\nclass Other: pass\n"
        "def check(candidate): pass\nif __name__ == '__main__':\n    unittest.main()",
    )
    assert plan.functions == ["test_b", "test_a"]
    assert plan.classes == ["T", "TestX"]
    assert plan.check and plan.asks and plan.main and plan.unittest and not plan.pytest
    assert plan.modules == {"solution": ["f"], "lib": ["h"]}
    assert set(plan.called) == {"f", "h"}


def test_a_check_that_is_called_is_not_called_again() -> None:
    assert not collect("row", "def check(candidate): pass\ncheck(f)").check
    assert not collect("row", "def check(): f()\ncheck()").check


PIECES = st.sampled_from(
    ["def test_a(", "x", "):", "\n", "    assert f(x)", "class T(TestCase):", "import a.b",
     "from a", " import *", "import pytest", "@pytest.mark.skip\n", "pytest.raises", ">>> f(1)",
     "'''", "check", "(candidate)", "if __name__:", "\0", "\ud800", " "]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(), st.lists(PIECES, max_size=20).map("".join)))
def test_any_text_is_collected_or_refused_in_one_line(text: str) -> None:
    try:
        plan = collect("row", text)
    except UserError as error:
        assert str(error).startswith("row: ") and "\n" not in str(error)
    else:
        assert plan.source == text or plan.examples == [text]


@pytest.mark.parametrize(
    "unit",
    ["def test_{}(): f()\n", "import a{}\n", "class Test{}: pass\n", ">>> f({})\n", "f({});"],
)
def test_collecting_takes_time_in_proportion_to_the_length(unit: str) -> None:
    text = "".join(unit.format(number) for number in range(3000))
    start = time.process_time()
    collect("row", text)
    assert time.process_time() - start < 5
