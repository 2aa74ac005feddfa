"""Published programs told as models tell them: in parts, corrected, tried out."""

import random

import pytest

from tests.unisd_core.tasks.code.test_task_published import PATIENT, SPLITS, pytestmark, rows_of
from unisd_core.sandbox import Program, run_programs
from unisd_core.tasks.code.extraction import extract_code, find_code
from unisd_core.tasks.code.statements import statements
from unisd_core.tasks.row import Row

__all__ = ["pytestmark"]

TRIALS = (
    "print({f}())",
    "n = int(input())\nprint({f}(n))",
    "assert {f}(1) == 17",
    "result = {f}(*[])\nprint(result)",
    "def main():\n    print({f}(input()))\n\nif __name__ == '__main__':\n    main()\nmain()",
    "import sys\nfor line in sys.stdin:\n    print(line)\nsys.exit(2)",
)


def told(row: Row, rng: random.Random) -> str:
    """The reference after a wrong thought and a wrong block: in parts, with a block of usage
    behind it, or in one block that is never closed."""
    code, f = row.details["code"], row.details["function"]
    trial = rng.choice(TRIALS).format(f=f)
    wrong = f"```python\ndef {f}(*args):\n    return 'wrong'\n```"
    match rng.randrange(3):
        case 0:
            parts = [statement.source for statement in statements(code) or ()]
            text = "\nthen\n".join(f"```python\n{part}\n\n{trial}\n```" for part in parts)
        case 1:
            text = (
                f"```python\n{code}\n```\nUse:\n```python\nfrom solution import {f}\n{trial}\n```"
            )
        case _:
            text = f"```python\n{trial}\n{code}\n{trial}"
    return f"<think>{wrong}</think>\nFirst:\n{wrong}\nBetter:\n{text}"


@pytest.mark.parametrize(("name", "split", "file"), SPLITS)
def test_a_reference_is_read_as_it_stands(name: str, split: str, file: str) -> None:
    for row in rows_of(name, split):
        found = find_code(row.reference, row.details["function"])
        assert found is not None and found.code == found.piece == row.details["code"], row.uid


@pytest.mark.slow
@pytest.mark.parametrize(("name", "split", "file"), SPLITS)
def test_a_program_told_in_parts_passes_its_tests(name: str, split: str, file: str) -> None:
    rows = rows_of(name, split)[::4]
    programs = []
    for row in rows:
        details = row.details
        text = told(row, random.Random(row.uid))
        code = extract_code(text, details["function"], details["stub"], details["also"])
        assert code is not None, row.uid
        programs.append(Program(code, details["tests"]))
    verdicts = run_programs(programs, PATIENT)
    failed = [(r.uid, v.detail) for r, v in zip(rows, verdicts, strict=True) if not v.passed]
    assert not failed
