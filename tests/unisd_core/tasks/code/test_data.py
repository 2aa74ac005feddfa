import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unisd_core.tasks.code.samples import FULL, HUMANEVAL, SANITIZED, rows_of
from unisd_core.common.errors import UserError
from unisd_core.tasks.registry import load_task

BAD_MBPP: list[tuple[dict[str, Any], str]] = [
    ({"text": None}, "'text' must be text"),
    ({"code": "def f(:"}, "'code' is not Python"),
    (
        {"code": "x = 0x" + "f" * 9000 + "\ndef sum_even(n=0x" + "f" * 9000 + "): pass"},
        "'code' cannot be written",
    ),
    ({"code": 3}, "'code' must be text"),
    ({"code": "def other(x):\n    return x"}, "'test_list' calls no function that 'code' defines"),
    ({"test_list": []}, "'test_list' calls no function"),
    ({"test_list": "assert 1"}, "'test_list' must be a list of texts"),
    ({"test_list": ["assert sum_even("]}, "'test_list' is not Python"),
    ({"test_list": ["sum_even([])"]}, "'test_list' calls no function"),
    ({"test_setup_code": 1}, "'test_setup_code' must be text or null"),
    ({"test_imports": "math"}, "'test_imports' must be a list of texts"),
    ({"task_id": "x"}, "'task_id' must be an integer"),
    ({"task_id": 7}, "task_id 7 is already used at"),
]
BAD_HUMANEVAL: list[tuple[dict[str, Any], str]] = [
    ({"prompt": "def above(:"}, "'prompt' must be Python that begins above"),
    ({"entry_point": "below"}, "'prompt' must be Python that begins below"),
    ({"canonical_solution": "  return ("}, "'canonical_solution' is not Python"),
    ({"test": "assert True"}, "'test' must be Python that defines check(candidate)"),
    ({"test": None}, "'test' must be text"),
    ({"task_id": True}, "'task_id' must be text"),
    ({"test": "def check(candidate):\n    candidate([1])"}, "'test' asserts nothing"),
    ({}, "task_id HumanEval/900 is already used at"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_MBPP)
def test_bad_mbpp_rows_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=r"full_train\.jsonl:2: ") as caught:
        rows_of(tmp_path, "mbpp", "train", FULL, {**FULL, "task_id": 8, **changes})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("changes", "message"), BAD_HUMANEVAL)
def test_bad_humaneval_rows_are_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    changes = {"task_id": "other", **changes} if changes else {}
    with pytest.raises(UserError, match=r"test\.jsonl:2: ") as caught:
        rows_of(tmp_path, "humaneval", "test", HUMANEVAL, {**HUMANEVAL, **changes})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tests", "function"),
    [
        (["assert sum_even([2]) == 2"], "sum_even"),
        (["assert is_even(2)"], "is_even"),
        (["assert is_even(sum_even([2]))"], "is_even"),
        (["assert set([sum_even([2])]) == {2}"], "sum_even"),
        (["assert len([]) == 0", "assert 2 == sum_even([2])"], "sum_even"),
    ],
)
def test_the_function_is_the_one_that_the_tests_call(
    tmp_path: Path, tests: list[str], function: str
) -> None:
    (row,) = rows_of(tmp_path, "mbpp", "train", {**FULL, "test_list": tests})
    assert row.details["function"] == function


def test_set_up_code_precedes_the_asserts_and_imports_precede_both(tmp_path: Path) -> None:
    record = {**SANITIZED, "test_setup_code": "two = 2\r\n"}
    (row,) = rows_of(tmp_path, "mbpp", "test", record)
    assert row.details["tests"].split() == [
        "import", "math", "two", "=", "2", "assert", "math.isclose(root(4),", "2)"
    ]  # fmt: skip


def test_a_set_for_tests_has_no_training_rows(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="task humaneval: has no training rows"):
        load_task("humaneval", str(tmp_path), 0).rows("train")


@pytest.mark.parametrize(
    ("name", "split", "source", "record"),
    [
        ("mbpp", "train", ("google-research-datasets/mbpp", "full", "train"), FULL),
        ("mbpp", "test", ("google-research-datasets/mbpp", "sanitized", "test"), SANITIZED),
        ("humaneval", "test", ("openai/openai_humaneval", None, "test"), HUMANEVAL),
    ],
)
def test_hub_rows_are_the_same_rows(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    split: str,
    source: tuple[str, str | None, str],
    record: dict[str, Any],
) -> None:
    asked = []

    def load_dataset(
        repository: str, configuration: str | None, split: str
    ) -> list[dict[str, Any]]:
        asked.append((repository, configuration, split))
        return [record]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    assert load_task(name, None, 0).rows(split) == rows_of(tmp_path, name, split, record)
    assert asked == [source]
