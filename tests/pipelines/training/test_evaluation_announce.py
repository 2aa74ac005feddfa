"""What is said before training: rows left out, and test rows whose question is trained on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pyarrow as pa
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
    prompts: Any = SimpleNamespace(left_out={}, counts={}, table=pa.table({"row": [0, 1, 2]}))
    known = HeldOutSet(
        "toy_test", [toy_row("t", "Question  1", "x"), toy_row("s", "y", "x")], [], 0
    )
    other = HeldOutSet("toy_other", [toy_row("o", "z", "x")], [], 0)
    announce(setup, prompts, [known, other])
    said = capsys.readouterr().out
    assert "toy_test: 1 of 2 rows ask a question that training rows ask, too" in said
    assert "toy_other" not in said
