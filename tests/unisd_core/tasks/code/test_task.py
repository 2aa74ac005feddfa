import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.unisd_core.tasks.code.samples import (
    FULL,
    HUMANEVAL,
    RIGHT,
    SANITIZED,
    STUB,
    rows_of,
)  # fmt: skip
from unisd_core.sandbox import Program, Verdict
from unisd_core.tasks.base import Task
from unisd_core.tasks.code import judging as code_judging
from unisd_core.tasks.code.mistakes import MISTAKES
from unisd_core.tasks.registry import load_task
from unisd_core.tasks.row import NegativeRequest, Row

MBPP: Task = load_task("mbpp", None, 0)
MISTAKEN = RIGHT.replace("% 2 == 0", "% 2 == 1")


@pytest.fixture
def row(tmp_path: Path) -> Row:
    (found,) = rows_of(tmp_path, "mbpp", "train", FULL)
    return found


def fence(code: str) -> str:
    return f"```python\n{code}\n```"


def ask(row: Row, number: int = 0) -> NegativeRequest:
    request = MBPP.negative_request(row, random.Random(0), number)
    assert request is not None
    return request


def test_prompt_and_gold_of_mbpp(row: Row) -> None:
    assert row.uid == "mbpp/train/7"
    assert FULL["text"] in row.prompt
    # The first function of the reference is another one.
    assert "\nSignature: def sum_even(nums):\n" in row.prompt
    assert "is_even" not in row.prompt
    for test in FULL["test_list"]:
        assert test in row.prompt
    assert row.prompt.endswith("```python\n<code>\n```")
    assert row.reference == fence(RIGHT)
    assert (row.retrieval_text, row.hint) == (FULL["text"], "")


def test_classes_and_set_up_code_that_the_tests_need_are_in_the_prompt(tmp_path: Path) -> None:
    record = {
        **FULL,
        "code": "class Node: pass\ndef height(node): return 1",
        "test_setup_code": "root = Node()",
        "test_list": ["assert height(root) == 1"],
    }
    (row,) = rows_of(tmp_path, "mbpp", "train", record)
    assert "The tests also use Node; define that too." in row.prompt
    assert "root = Node()\nassert height(root) == 1" in row.prompt
    assert MBPP.score(row, row.reference).correct


def test_prompt_and_gold_of_humaneval(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, "humaneval", "test", HUMANEVAL)
    assert row.uid == "humaneval/test/HumanEval/900"
    assert row.prompt.startswith(STUB)
    assert "Complete the Python function above above." in row.prompt
    assert HUMANEVAL["canonical_solution"].strip() not in row.prompt
    assert row.reference.startswith("```python\nfrom typing import List\n")
    task = load_task("humaneval", None, 0)
    for right in (row.reference, "    return [n + 1 for n in numbers]", fence("return [2, 3]")):
        assert task.score(row, right).correct, right
    assert not task.score(row, "    return numbers").correct
    assert STUB in task.demonstration(row)


def test_score_asks_for_every_test(row: Row) -> None:
    table = {
        row.reference: (True, True),
        RIGHT: (True, True),
        fence("sum_even = lambda n: sum(i for i in n if i % 2 == 0)"): (True, True),
        fence(MISTAKEN): (False, True),
        fence("def sum_even(nums):\n    return 6"): (False, True),
        fence("def sum_even(nums):\n    raise SystemExit(0)"): (False, True),
        fence("import sys\nsys.exit(0)\ndef sum_even(nums): pass"): (False, True),
        fence("def sum_all(nums):\n    return 6"): (False, False),
        "": (False, False),
    }
    scores = MBPP.score_many([row] * len(table), list(table))
    assert [(s.correct, s.extracted) for s in scores] == list(table.values())
    assert MBPP.score_many([], []) == []


def test_tests_see_what_they_import(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, "mbpp", "test", SANITIZED)
    assert MBPP.score(row, fence("def root(x):\n    return x ** 0.5")).correct


def test_readable_runs_nothing(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("a program was run")

    monkeypatch.setattr(code_judging, "run_programs", refuse)
    monkeypatch.setattr(code_judging, "run_program", refuse)
    assert MBPP.parseable(row, fence(MISTAKEN))
    assert not MBPP.parseable(row, "no code")


def test_wrong_references_fail_a_test_in_the_form_of_the_reference(row: Row) -> None:
    wrong = [MBPP.wrong_reference(row, random.Random(seed)) for seed in range(6)]
    golds = [found.reference for found in wrong if found is not None]
    assert len(golds) == 6
    assert len(set(golds)) > 1
    assert not any(score.correct for score in MBPP.score_many([row] * 6, golds))
    for found in wrong:
        assert found is not None
        assert found.reference.startswith("```python\ndef is_even(n):\n")
        assert (found.uid, found.prompt, found.details) == (row.uid, row.prompt, row.details)
    assert wrong[0] == MBPP.wrong_reference(row, random.Random(0))


def test_a_row_whose_mutants_all_pass_has_no_wrong_reference(tmp_path: Path) -> None:
    lenient = {**FULL, "test_list": ["assert sum_even([]) or True"]}
    (row,) = rows_of(tmp_path, "mbpp", "train", lenient)
    assert MBPP.wrong_reference(row, random.Random(0)) is None


def test_kinds_of_mistakes_go_round_robin(row: Row) -> None:
    requests = [ask(row, number) for number in range(8)]
    assert [r.kind for r in requests] == [f"mbpp/{kind}/1" for kind in [*MISTAKES, *MISTAKES]]
    for request, mistake in zip(requests, [*MISTAKES.values()] * 2, strict=True):
        assert request.prompt.startswith(row.prompt)
        assert row.reference in request.prompt
        assert mistake in request.prompt


@pytest.mark.parametrize(
    "text",
    [
        fence(MISTAKEN),
        MISTAKEN,
        f"Here:\n{fence(MISTAKEN)}\nThe comparison is wrong.",
        fence(MISTAKEN.replace("return n ", "'''Odd, by mistake.'''\n    return n ")),
        fence(MISTAKEN.replace("    total = 0", "    # A mistake.\n    total   =  (0)")),
        fence(f"{MISTAKEN}\n\nprint(sum_even([1]))\nassert sum_even([1]) == 1"),
        json.dumps({"reasoning": "odd", "code": MISTAKEN}),
    ],
)
def test_what_is_read_is_put_into_the_form_of_the_reference(row: Row, text: str) -> None:
    wrong = ask(row).read(text)
    assert wrong is not None
    assert wrong.reference == fence(MISTAKEN)
    assert (wrong.uid, wrong.prompt, wrong.details, wrong.hint) == (
        row.uid, row.prompt, row.details, row.hint
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot do that.",
        fence(RIGHT),
        fence(f"# The same.\n{RIGHT}"),
        fence("def sum_even(nums):\n    return sum(n for n in nums if n % 2 == 0)"),
        fence("def sum_odd(nums):\n    return 1"),
        fence("def sum_even(nums)\n    return 1"),
        fence(f"import numpy_is_not_here\n{MISTAKEN}"),
        fence(f"return 1\n{MISTAKEN}"),
        fence("def sum_even(nums):\n    while True:\n        pass"),
    ],
)
def test_empty_unreadable_right_and_endless_programs_are_refused(row: Row, text: str) -> None:
    assert ask(row).read(text) is None


def test_a_program_that_ran_out_of_time_proves_nothing(
    row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(program: Program, limits: object) -> Verdict:
        return Verdict(False, "timeout", "wall clock", 10.0)

    monkeypatch.setattr(code_judging, "run_program", slow)
    assert MBPP.wrong_reference(row, random.Random(0)) is None


def test_demonstration_shows_task_tests_and_code(row: Row) -> None:
    shown = MBPP.demonstration(row)
    assert shown == "\n".join([f"Task: {FULL['text']}", "Tests:", *FULL["test_list"], fence(RIGHT)])
