"""Every reference solution of the published sets passes its own tests."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unisd_core.sandbox.hostile import PATIENT
from unisd_core.sandbox import Program, run_programs

BESIDE = Path(__file__).resolve().parents[4] / "shared" / "data"
DATA_DIR = os.environ.get("UNISD_DATA_DIR") or (str(BESIDE) if BESIDE.is_dir() else "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not DATA_DIR, reason="no published rows: set UNISD_DATA_DIR to a folder that holds them"
    ),
]


def humaneval(row: dict[str, Any]) -> Program:
    check = f"{row['test']}\ncheck({row['entry_point']})"
    return Program(row["prompt"] + row["canonical_solution"], check)


def mbpp_full(row: dict[str, Any]) -> Program:
    # The set-up of two tasks uses classes that only the solution defines.
    return Program(row["code"], "\n".join([row["test_setup_code"], *row["test_list"]]))


def mbpp_sanitized(row: dict[str, Any]) -> Program:
    return Program(row["code"], "\n".join([*row["test_imports"], *row["test_list"]]))


@pytest.mark.parametrize(
    ("files", "count", "program"),
    [
        ("humaneval/test.jsonl", 164, humaneval),
        ("mbpp/sanitized_*.jsonl", 427, mbpp_sanitized),
        ("mbpp/full_*.jsonl", 974, mbpp_full),
    ],
)
def test_reference_solutions_pass(
    files: str, count: int, program: Callable[[dict[str, Any]], Program]
) -> None:
    paths = sorted(Path(DATA_DIR).glob(files))
    if not paths:
        pytest.skip(f"no {files} in the folder of published rows")
    rows = [json.loads(line) for path in paths for line in path.read_text("utf-8").splitlines()]
    assert len(rows) == count
    verdicts = run_programs([program(row) for row in rows], PATIENT)
    failed = {
        row["task_id"]: verdict
        for row, verdict in zip(rows, verdicts, strict=True)
        if not verdict.passed
    }
    assert failed == {}
