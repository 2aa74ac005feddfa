"""Tasks over rows in memory."""

from __future__ import annotations

import random
from typing import Any

import pytest

from unisd_core.common.errors import UserError
from unisd_core.tasks.base import Task
from unisd_core.tasks.row import AnswerScore, Row

SUMS = [Row(f"What is {n} + {n}?", f"{n} + {n} = {2 * n}") for n in range(5)]


def test_rows_in_memory_are_taken_as_they_stand_and_scored_by_the_metric() -> None:
    task = Task.from_rows(SUMS, "numeric", test=[Row("What is 50 + 50?", "100")])
    rows = task.rows("train")
    assert [(row.uid, row.prompt, row.reference) for row in rows] == [
        (row.uid, row.prompt, row.reference) for row in SUMS
    ]
    assert task.score(rows[3], "It is 6.").correct
    assert not task.score(rows[3], "It is 7.").correct
    assert not task.parseable(rows[3], "No idea.")
    assert task.score(task.rows("test")[0], "100").correct
    wrong = task.wrong_reference(rows[3], random.Random(0))
    assert wrong is not None and not task.score(rows[3], wrong.reference).correct
    assert task.demonstration(rows[1]) == "What is 1 + 1?\n1 + 1 = 2"


def test_without_test_rows_there_is_no_test_split() -> None:
    task = Task.from_rows(SUMS, "numeric", name="sums", max_completion_length=9)
    assert (task.name, task.test_splits, task.max_completion_length) == ("sums", (), 9)
    with pytest.raises(UserError, match="task sums: no split 'test'"):
        task.rows("test")


@pytest.mark.parametrize(
    ("metric", "row", "completion"),
    [
        ("exact_match", Row("Capital?", "By the sea.\nAnswer: Oslo", answer="Oslo"), "Oslo"),
        ("choice", Row("Which?", "B", choices=["tea", "coffee"]), "Answer: B"),
        ("json_call", Row("Add.", '{"name": "add", "arguments": {"a": 1}}'), "")
    ],
)  # fmt: skip
def test_what_a_metric_asks_for_is_given_with_the_row(
    metric: str, row: Row, completion: str
) -> None:
    (held,) = Task.from_rows([row], metric).rows("train")
    assert Task.from_rows([row], metric).score(held, completion or row.reference).correct


def test_programs_are_scored_by_the_tests_of_their_row() -> None:
    row = Row("Double.", "def f(x):\n    return 2 * x", tests="assert f(2) == 4")
    task = Task.from_rows([row], "python_tests")
    (held,) = task.rows("train")
    right, wrong = task.score_many(
        [held, held], ["def f(x):\n    return x + x", "def f(x):\n    return x"]
    )
    assert right.correct and not wrong.correct


@pytest.mark.parametrize(
    ("metric", "fields", "message"),
    [
        ("exact_match", {"prompt": " "}, r"rows\[1\]: field 'prompt' must be text, found ' '"),
        ("exact_match", {"prompt": 3}, r"rows\[1\]: field 'prompt' must be text, found 3"),
        ("exact_match", {"reference": ""}, r"rows\[1\]: field 'reference' must be text"),
        ("exact_match", {"uid": "q0"}, r"rows\[1\]: other content under the uid of rows\[0\]"),
        ("exact_match", {"answer": "other"}, r"rows\[1\]: metric=exact_match does not score"),
        ("numeric", {"reference": "many"}, r"rows\[1\]: no number can be read"),
        ("choice", {"reference": "C", "choices": ["a", "b"]}, r"rows\[1\]: .*has 2 texts"),
        ("python_tests", {"reference": "f = 1"}, r"rows\[1\]: field 'tests' must be text"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_by_its_index(
    metric: str, fields: dict[str, Any], message: str
) -> None:
    good = {
        "exact_match": Row("p", "r", uid="q0"),
        "numeric": Row("1 + 1?", "2"),
        "choice": Row("A. x B. y", "A"),
        "python_tests": Row("p", "def f(): return 1", tests="f()"),
    }[metric]
    bad = Row(**{"prompt": "What?", "reference": "That.", **fields})
    with pytest.raises(UserError, match=message) as caught:
        Task.from_rows([good, bad], metric)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=message.replace("rows", "test")):
        Task.from_rows([], metric, test=[good, bad])


def test_an_unknown_metric_is_named() -> None:
    with pytest.raises(UserError, match=r"'bleu'.*exact_match.*python_tests"):
        Task.from_rows(SUMS, "bleu")


class Echo(Task):
    """The least a task of one's own says."""

    name = "echo"

    def rows(self, split: str) -> list[Row]:
        self.check_split(split)
        return [Row(f"Say {word}.", word) for word in ("yes", "no")]

    def score(self, row: Row, completion: str) -> AnswerScore:
        return AnswerScore(completion == row.reference, bool(completion))


def test_a_custom_task_class_needs_rows_and_a_score() -> None:
    task = Echo()
    yes, no = task.rows("train")
    assert [score.correct for score in task.score_many([yes, no], ["yes", "yes"])] == [True, False]
    assert task.parseable(yes, "what") and not task.parseable(yes, "")
    assert task.wrong_reference(yes, random.Random(0)) is None
    assert task.secret(yes) == "yes"
