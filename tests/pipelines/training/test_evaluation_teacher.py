"""The check before training that a teacher knows more than its student."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from actors.generator.completions import greedy_sampling
from actors.generator.types import Request
from pipelines.training.evaluation import check_teacher
from tests.support.toy_task import ToyTask, toy_row
from unisd_core.common.completion import Completion
from unisd_core.common.errors import UserError
from unisd_core.config.run import Config

STUDENT, TEACHER, AUXILIARY, NEGATIVE = range(4)
ROWS = [toy_row(f"u{number}", f"question {number}", f"gold {number}") for number in range(10)]
TABLE = pa.table(
    {
        "left_out": pa.nulls(10, pa.string()),
        "row": list(range(10)),
        "prompt_ids": [[STUDENT, row] for row in range(10)],
        "view_ids": [[[TEACHER, row], [AUXILIARY, row]] for row in range(10)],
        "negative_ids": [[[NEGATIVE, row]] for row in range(10)],
    }
)


class AnsweringPool:
    """Stands in for the pool's client: under view v it answers the first ``right[v]`` rows."""

    def __init__(self, right: dict[int, int]) -> None:
        self.right, self.generate = right, self
        self.asked: list[list[int]] = []

    def remote(self, requests: list[Request], version: int) -> list[Completion]:
        return [self.answer(*request.prompt_ids, version) for request in requests]

    def answer(self, view: int, row: int, version: int) -> Completion:
        self.asked.append([view, row])
        text = ROWS[row].reference if row < self.right[view] else "no idea"
        return Completion(list(text.encode()), [], "stop", version, version, 0)

    def wait(self, answers: list[Completion], _: float) -> list[Completion]:
        return answers


def check(right: dict[int, int], **sections: Any) -> AnsweringPool:
    config = Config.model_validate({"evaluation": {"teacher_rows": 10}, **sections})
    chat = SimpleNamespace(text=lambda ids: bytes(ids).decode())
    setup: Any = SimpleNamespace(
        config=config,
        task=ToyTask(),
        rows=SimpleNamespace(train=ROWS),
        model=SimpleNamespace(chat=chat, weights=None),
        greedy=greedy_sampling(16, (0,)),
    )
    pool = AnsweringPool(right)
    check_teacher(setup, pool, SimpleNamespace(num_rows=10, take=TABLE.take))  # type: ignore[arg-type]
    return pool


def right(student: int, teacher: int) -> dict[int, int]:
    return {STUDENT: student, TEACHER: teacher, AUXILIARY: 8, NEGATIVE: 1}


def test_a_teacher_that_beats_its_student_is_shown_beside_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    check(right(student=3, teacher=9))
    assert (
        "right on 10 training rows: student 30 %, teacher 90 %, auxiliary 80 %, negative 10 %"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("teacher", [0, 4, 5])
def test_a_teacher_no_better_than_its_student_is_refused(teacher: int) -> None:
    with pytest.raises(UserError) as error:
        check(right(student=5, teacher=teacher))
    assert str(error.value) == (
        f"the teacher is right on {10 * teacher} % of the rows, its student on 50 %, "
        "so it has nothing to teach; try another views.reference_format, "
        "or set evaluation.require_better_teacher=false"
    )


def test_the_refusal_can_be_switched_off(capsys: pytest.CaptureFixture[str]) -> None:
    check(
        right(student=5, teacher=5),
        evaluation={"teacher_rows": 10, "require_better_teacher": False},
    )
    assert "student 50 %, teacher 50 %" in capsys.readouterr().out


def test_a_run_that_asks_no_teacher_may_have_a_weak_one() -> None:
    off = ("divergence", "contrastive", "features")
    terms = {name: {"weight": 0.0} for name in off} | {"cross_entropy": {"weight": 1.0}}
    check(right(student=5, teacher=2), objective=terms, rollout={"gold_share": 1.0})


def test_as_many_rows_are_asked_as_the_settings_say() -> None:
    assert check(right(0, 10), evaluation={"teacher_rows": 0}).asked == []
    asked = check(right(0, 10), evaluation={"teacher_rows": 4}).asked
    rows = {row for _, row in asked}
    assert len(rows) == 4
    assert sorted(asked) == sorted([view, row] for view in range(4) for row in rows)
