"""Rows with inputs and outputs: the program is a script that reads the one and prints the other."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.unisd_core.tasks.custom.rows import task_of
from unisd_core.common.errors import UserError
from unisd_core.tasks.base import Task
from unisd_core.tasks.row import Row

ADD = "def add(a, b):\n    return a + b"
SUM = "import sys\nfor line in sys.stdin:\n    a, b = map(int, line.split())\n    print(a + b)"
PAIRS: dict[str, Any] = {
    "list": [{"input": "1 2\n", "output": "3\n"}, {"input": "1 2\n3 4\n", "output": "3\n7"}],
    "lists": {"inputs": ["1 2\n", "3 4"], "outputs": ["3", "7\n\n"]},
    "singular": {"input": ["1 2\n"], "output": ["3"]},
    "one": {"input": "1 2\n", "output": "3"},
    "text": json.dumps({"inputs": ["1 2\n"], "outputs": ["3"]}),
    "lists of lines": {"inputs": [["1 2", "3 4"]], "outputs": [["3", "7"]]},
    "with a type": [{"input": "1 2", "output": " 3 ", "testtype": "stdin"}],
}
SCRIPTS = {
    SUM: True,
    SUM.replace("+", "-"): False,
    "while True:\n    try:\n        print(sum(map(int, input().split())))\n"
    "    except EOFError:\n        break": True,
    "for line in open(0):\n    print(sum(map(int, line.split())), '  ')": True,
    "import sys\ndata = sys.stdin.buffer.read().decode().splitlines()\n"
    "sys.stdout.write('\\n'.join(str(sum(map(int, x.split()))) for x in data))": True,
    f"def main():\n    {SUM.replace(chr(10), chr(10) + '    ')}\n"
    "if __name__ == '__main__':\n    main()": True,
    f"{SUM}\nexit()": True,
    f"{SUM}\nraise SystemExit(1)": False,
    f"{SUM}\nprint('done')": False,
    f"import os\n{SUM}\nos._exit(0)": False,
    "import sys\nsys.stdin.read()\nprint(3)": False,
    "import threading, sys\ndef work():\n    for line in sys.stdin:\n"
    "        print(sum(map(int, line.split())))\nthreading.Thread(target=work).start()": True,
    f"import builtins\n{SUM}\nbuiltins.len = None": True,
    f"state = globals().setdefault('state', 0)\n{SUM}\nassert not state\nstate = 1": True,
    "no program": False,
}  # fmt: skip


@pytest.mark.parametrize("form", PAIRS)
def test_scripts_are_given_their_input(tmp_path: Path, form: str) -> None:
    row = {"prompt": "Sum.", "reference": f"```python\n{SUM}\n```", "tests": PAIRS[form]}
    task, (held,) = task_of(tmp_path, "python_tests", row)
    answers = [SUM, SUM.replace("+", "-"), "print(8)", "x = 1"]
    scores = task.score_many([held] * 4, [f"```python\n{text}\n```" for text in answers])
    assert [score.correct for score in scores] == [True, False, False, False]
    assert [score.extracted for score in scores] == [True, True, True, False]


def test_scripts_are_read_as_people_write_them(tmp_path: Path) -> None:
    row = {"prompt": "Sum.", "reference": f"```python\n{SUM}\n```", "input_output": PAIRS["lists"]}
    task, (held,) = task_of(tmp_path, "python_tests", row)
    scores = task.score_many([held] * len(SCRIPTS), [f"```python\n{one}\n```" for one in SCRIPTS])
    assert {one: s.correct for one, s in zip(SCRIPTS, scores, strict=True)} == SCRIPTS
    wrong = task.wrong_reference(held, random.Random(0))
    assert wrong is not None and wrong.reference.startswith("```python\nimport sys\n")
    assert not task.score(held, wrong.reference).correct


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        ({"inputs": ["1 2"], "outputs": []}, "one output for each input"),
        ({"inputs": [3], "outputs": [3]}, "all as text"),
        ([{"input": "1 2"}], "must give 'input' and 'output' of a script"),
        ([{"input": "1 2", "output": "3", "cmd": "x"}], "must give 'input' and 'output'"),
        ([{"input": "[1]", "output": "3", "testtype": "functional"}], "write other tests as"),
        ({"inputs": ["1 2"], "outputs": ["4"]}, "does not score the reference as right"),
        ({"inputs": [""], "outputs": [""]}, "the tests pass whatever the program does"),
    ],
)
def test_streams_that_cannot_be_judged_are_refused(
    tmp_path: Path, tests: Any, message: str
) -> None:
    row = {"prompt": "Sum.", "reference": f"```python\n{SUM}\n```", "tests": tests}
    with pytest.raises(UserError, match=r"train\.jsonl:1: ") as caught:
        task_of(tmp_path, "python_tests", row)
    assert message in str(caught.value)


def test_an_answer_that_is_no_script_is_named(tmp_path: Path) -> None:
    row = {"prompt": "Sum.", "reference": ADD, "tests": PAIRS["list"]}
    with pytest.raises(UserError, match="must be a program that reads its input and prints"):
        task_of(tmp_path, "python_tests", row)


def test_rows_in_memory_hold_the_same_forms() -> None:
    rows = [
        Row("Add.", ADD, tests=["assert add(1, 2) == 3"]),
        Row("Sum.", SUM, tests=[{"input": "1 2", "output": "3"}]),
    ]
    task = Task.from_rows(rows, "python_tests")
    add, script = task.rows("train")
    assert task.score(add, ADD).correct
    assert not task.score(add, ADD.replace("+", "-")).correct
    assert task.score(script, SUM).correct and not task.score(script, ADD).correct
