"""Rows of the shape of the published ones, for tests without data."""

import json
from pathlib import Path
from typing import Any

from unisd_core.tasks.registry import load_task
from unisd_core.tasks.row import Row

FULL = {
    "text": "Write a function to add the even numbers of a list.",
    "code": "def is_even(n):\r\n\treturn n%2 == 0  # helper\r\n"
    "def sum_even(nums):\r\n\ttotal=0\r\n\tif not nums:\r\n\t\treturn 0\r\n"
    "\tfor n in nums:\r\n\t\tif is_even(n):\r\n\t\t\ttotal += n\r\n\treturn (total)",
    "task_id": 7,
    "test_setup_code": "",
    "test_list": [
        "assert sum_even([1, 2, 3, 4]) == 6",
        "assert sum_even([]) == 0",
        "assert sum_even([5]) == 0",
    ],
    "challenge_test_list": [],
}
RIGHT = """def is_even(n):
    return n % 2 == 0

def sum_even(nums):
    total = 0
    if not nums:
        return 0
    for n in nums:
        if is_even(n):
            total += n
    return total"""
SANITIZED = {
    "source_file": "a notebook",
    "task_id": 8,
    "prompt": "Write a function to take a square root.",
    "code": "import math\ndef root(x):\n    return math.sqrt(x)",
    "test_imports": ["import math"],
    "test_list": ["assert math.isclose(root(4), 2)"],
}
STUB = '''from typing import List

def helper(x: int) -> int:
    """ One more. """
    return x + 1

def above(numbers: List[int]) -> List[int]:
    """ Every number, one more.
    >>> above([1])
    [2]
    """
'''
HUMANEVAL = {
    "task_id": "HumanEval/900",
    "prompt": STUB,
    "entry_point": "above",
    "canonical_solution": "    return [helper(n) for n in numbers]\n",
    "test": "METADATA = {}\n\ndef check(candidate):\n    assert candidate([1, 2]) == [2, 3]\n",
}
FILES = {
    ("mbpp", "train"): "full_train",
    ("mbpp", "test"): "sanitized_test",
    ("humaneval", "test"): "test",
}


def rows_of(folder: Path, name: str, split: str, *records: dict[str, Any]) -> list[Row]:
    """``records`` read back as rows of ``split`` of the task ``name``."""
    path = folder / name / f"{FILES[name, split]}.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return load_task(name, str(folder), 0).rows(split)
