"""What is said before training: rows left out, and test rows whose question is trained on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.training.evaluation import announce
from tests.support.toy_task import ToyTask, toy_row
from unisd_core.config.run import Config
from unisd_core.evaluation.held_out import HeldOutSet


def test_test_rows_whose_question_is_trained_on_are_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    train = [toy_row(f"u{n}", f"question {n}", "gold") for n in range(3)]
    setup: Any = SimpleNamespace(config=Config(), task=ToyTask(), rows=SimpleNamespace(train=train))
    prompts: Any = SimpleNamespace(left_out={}, counts={}, num_rows=3, made=3)
    known = HeldOutSet(
        "toy_test", [toy_row("t", "Question  1", "x"), toy_row("s", "y", "x")], [], 0
    )
    other = HeldOutSet("toy_other", [toy_row("o", "z", "x")], [], 0)
    announce(setup, prompts, [known, other])
    said = capsys.readouterr().out
    assert "toy_test: 1 of 2 rows ask a question that training rows ask, too" in said
    assert "toy_other" not in said


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (9, "9 training rows (left out: 1 over model.max_prompt_length (u0), 6 over "
            "model.max_view_length (u1, u2, u3, u4, u5, ...))\n"),
        (8, "9 training rows (left out of the 8 seen so far: 1 over "),
    ],
)  # fmt: skip
def test_rows_over_a_limit_are_named(
    capsys: pytest.CaptureFixture[str], made: int, said: str
) -> None:
    left_out = {f"u{n}": "model.max_view_length" for n in range(1, 7)}
    left_out["u0"] = "model.max_prompt_length"
    setup: Any = SimpleNamespace(config=Config(), task=ToyTask(), rows=SimpleNamespace(train=[]))
    prompts: Any = SimpleNamespace(left_out=left_out, counts={}, num_rows=9, made=made)
    announce(setup, prompts, [])
    assert said in capsys.readouterr().out
