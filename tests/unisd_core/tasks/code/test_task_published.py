"""The code tasks on published rows, where a folder with them is at hand."""

import random
from typing import Any

import pytest

from tests.unisd_core.tasks.test_registry_published_rows import DATA_DIR, lines_of
from unisd_core.sandbox import Limits, Program, run_programs
from unisd_core.tasks.code.extraction import extract_code
from unisd_core.tasks.code.suites.suite import failing_code
from unisd_core.tasks.registry import load_task
from unisd_core.tasks.row import Row

pytestmark = [
    pytest.mark.skipif(
        not DATA_DIR, reason="no published rows: set UNISD_DATA_DIR to a folder that holds them"
    ),
    # In the published solutions; pytest puts the filter of source.py aside.
    pytest.mark.filterwarnings("ignore:invalid escape sequence"),
]

SPLITS = [
    ("mbpp", "train", "full_train"),
    ("mbpp", "test", "sanitized_test"),
    ("humaneval", "test", "test"),
]
PATIENT = Limits(wall_s=120)
"""The processor's time decides, not what else the machine does."""


def rows_of(name: str, split: str) -> list[Row]:
    return load_task(name, DATA_DIR, 0).rows(split)


@pytest.mark.parametrize(("name", "split", "file"), SPLITS)
def test_every_row_loads_and_its_prompt_names_the_function_the_tests_call(
    name: str, split: str, file: str
) -> None:
    rows = rows_of(name, split)
    assert len(rows) == lines_of(name, file)
    assert len({row.uid for row in rows}) == len(rows)
    for row in rows:
        function = row.details["function"]
        assert f"def {function}(" in row.prompt, row.uid
        called = "check" if name == "humaneval" else function
        assert f"{called}(" in row.details["tests"], row.uid
        assert row.reference not in row.prompt


@pytest.mark.slow
@pytest.mark.parametrize(("name", "split", "file"), SPLITS)
def test_every_reference_passes_its_tests(name: str, split: str, file: str) -> None:
    # All of them go through the sandbox in test_run_published_programs.
    rows = rows_of(name, split)[::4]
    programs = []
    for row in rows:
        code = extract_code(row.reference, row.details["function"], row.details["stub"])
        assert code is not None, row.uid
        programs.append(Program(code, row.details["tests"]))
    verdicts = run_programs(programs, PATIENT)
    failed = [(r.uid, v.detail) for r, v in zip(rows, verdicts, strict=True) if not v.passed]
    assert not failed


@pytest.mark.slow
@pytest.mark.parametrize(("name", "split", "file"), SPLITS)
def test_no_row_passes_a_program_whose_functions_raise(name: str, split: str, file: str) -> None:
    rows = rows_of(name, split)[::4]
    broken = [failing_code({}, row.details["code"]) for row in rows]
    programs = [Program(code, row.details["tests"]) for code, row in zip(broken, rows, strict=True)]
    verdicts = run_programs(programs, PATIENT)
    assert [row.uid for row, v in zip(rows, verdicts, strict=True) if v.passed] == []


@pytest.mark.slow
def test_nearly_every_row_has_a_wrong_reference_that_fails() -> None:
    task = load_task("mbpp", DATA_DIR, 0)
    rows = random.Random(0).sample(task.rows("train"), 60)
    wrong = [task.wrong_reference(row, random.Random(row.uid)) for row in rows]
    made = [row for row in wrong if row is not None]
    assert len(made) >= 0.95 * len(rows)
    assert all(task.parseable(row, row.reference) for row in made)
    assert not any(
        score.correct for score in task.score_many(made, [row.reference for row in made])
    )


@pytest.mark.parametrize(("name", "split", "file"), SPLITS)
def test_gold_fits_the_decoding_limit(
    smollm2_tokenizer: Any, name: str, split: str, file: str
) -> None:
    task = load_task(name, DATA_DIR, 0)
    golds = [row.reference for row in task.rows(split)]
    lengths = [len(ids) for ids in smollm2_tokenizer(golds).input_ids]
    # One more token ends the turn.
    assert max(lengths) + 1 <= task.max_completion_length
