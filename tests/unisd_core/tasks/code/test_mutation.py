import ast
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unisd_core.tasks.code.samples import RIGHT
from unisd_core.tasks.code.mutation import mutants
from unisd_core.tasks.code.source import parse, written


def all_mutants(code: str, seed: int = 0) -> list[str]:
    return list(mutants(code, random.Random(seed)))


def of(body: str) -> str:
    tree = parse(f"def f(x, y):\n    {body}")
    assert tree is not None
    code = written(tree)
    assert code is not None
    return code


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("return x[1]", "return x[2]"),
        ("return x[1]", "return x[0]"),
        ("return x[:y]", "return x[1:y]"),
        ("return range(y)", "return range(y - 1)"),
        ("return list(range(0, y))", "return list(range(0, y + 1))"),
        ("return x + y", "return x - y"),
        ("return x < y", "return x <= y"),
        ("return x and y", "return x or y"),
        ("return max(x)", "return min(x)"),
        ("x += y", "x -= y"),
        ("return x if y else 0", "return x if not y else 0"),
        ("return x if not y else 0", "return x if y else 0"),
        ("if x: return y", "pass"),
        ("x.sort()", "pass"),
        ("return [n for n in x if n > y]", "return [n for n in x]"),
        ("return x and y", "return y"),
        ("return x", "return y"),
        ("return True", "return False"),
        ("return sorted(x)", "return x"),
        ("return x.strip()", "return x"),
        ("return (x, y)", "return (y, x)"),
    ],
)
def test_mistakes_that_are_made(right: str, wrong: str) -> None:
    assert of(wrong) in all_mutants(of(right))


def test_branches_steps_and_other_values() -> None:
    found = all_mutants(RIGHT)
    assert RIGHT.replace("    if not nums:\n        return 0\n", "") in found
    assert RIGHT.replace("return total", "return n") in found
    assert RIGHT.replace("return total", "return nums") in found
    chain = of("if x: return 1\n    elif y: return 2\n    else: return 3")
    assert of("if x: return 1\n    else: return 3") in all_mutants(chain)


def test_mutants_differ_from_the_code_and_each_other_and_keep_its_form() -> None:
    found = all_mutants(RIGHT)
    assert len(found) > 10
    assert len({*found, RIGHT}) == len(found) + 1
    for code in found:
        tree = parse(code)
        assert tree is not None
        assert written(tree) == code


def test_order_depends_on_the_seed_alone_and_the_set_on_nothing() -> None:
    first, again, other = (all_mutants(RIGHT, seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert sorted(first) == sorted(other)


def test_code_without_a_place_for_a_mistake_has_no_mutants() -> None:
    assert all_mutants("def f():\n    pass") == []


NAMES = st.sampled_from(["x", "y", "f(x)", "1", "True", "x.sort()", "[n for n in x if n]"])
STATEMENTS = st.builds("    if {}:\n        return {}\n    return {}".format, NAMES, NAMES, NAMES)


@settings(max_examples=60, deadline=None)
@given(STATEMENTS, st.integers(0, 9))
def test_every_mutant_is_python_that_still_defines_the_function(body: str, seed: int) -> None:
    tree = parse(f"def f(x, y):\n{body}")
    assert tree is not None
    for code in all_mutants(ast.unparse(tree), seed):
        again = parse(code)
        assert again is not None
        assert [node.name for node in again.body if isinstance(node, ast.FunctionDef)] == ["f"]
