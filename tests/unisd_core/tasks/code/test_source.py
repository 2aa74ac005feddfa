import ast
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unisd_core.tasks.code.source import defines, parse, written


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("def f(x):\n    return x", True),
        ("f = lambda x: x", True),
        ("from math import gcd as f", True),
        ("import f", True),
        ("try:\n    def f(): pass\nexcept ImportError:\n    pass", True),
        ("class f: pass", True),
        ("def g():\n    f = 1\n    def f(): pass", False),
        ("f(1)", False),
        ("class A:\n    def f(self): pass", False),
        ("def f(x)\n    return x", False),
        ("def f(:", False),
        ("def f(): return '\0'", False),
        ("def f(): return '\ud800'", False),
        ("", False),
        ("f = " + "-" * 100_000 + "1", False),
        ("f = " + "(" * 10_000, False),
    ],
)
def test_what_a_program_defines(code: str, wanted: bool) -> None:
    assert defines(code, "f") is wanted


def test_the_written_form_has_no_comments_docstrings_or_spare_brackets() -> None:
    spaced = 'def f( x ):\n\t"""Doc."""\n\treturn (x)  # x\n'
    plain = "def f(x):\n    return x"
    for code in (spaced, plain):
        tree = parse(code)
        assert tree is not None
        assert written(tree) == plain
    only = parse('class A:\n    """Doc."""')
    assert only is not None
    assert written(only) == "class A:\n    pass"


def test_numbers_that_cannot_be_written_are_no_reference() -> None:
    tree = parse("x = 0x" + "f" * 9000)
    assert tree is not None
    assert written(tree) is None


def test_trees_too_deep_to_write_are_no_reference() -> None:
    deep: ast.expr = ast.Name("x")
    for _ in range(20_000):
        deep = ast.UnaryOp(ast.USub(), deep)
    assert written(ast.Module([ast.Expr(deep)], [])) is None


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(), st.text("def f(x):\n return{}[]'\"\\#@=.,0", max_size=60)))
def test_any_text_is_read_without_raising(text: str) -> None:
    tree = parse(text)
    assert isinstance(defines(text, "f"), bool)
    if tree is not None:
        code = written(tree)
        assert code is not None
        again = parse(code)
        assert again is not None
        assert written(again) == code


def test_reading_prints_no_warnings_about_a_models_strings() -> None:
    program = (
        "from unisd_core.tasks.code.source import defines\n"
        "assert defines('def f(): return \"\\\\d\"', 'f')"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", program], capture_output=True, text=True, check=True
    )
    assert "invalid escape" not in done.stderr
