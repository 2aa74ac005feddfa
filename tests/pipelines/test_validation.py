from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from pipelines.validation import LINES, WEIGHTS, best_weights, is_over
from tests.unisd_core.toy_task import ToyTask, toy_row
from unisd_core.config import Config
from unisd_core.errors import UserError
from unisd_core.tasks.base import Row
from unisd_core.tasks.splits import split_training


def config(**evaluation: int | str) -> Config:
    settings = {"every": 10, "validation_rows": 4, **evaluation}
    return Config.model_validate({"evaluation": settings})


@given(st.lists(st.floats(0, 1), max_size=12), st.integers(0, 4))
def test_training_ends_when_the_best_accuracy_is_patience_evaluations_old(
    accuracies: list[float], patience: int
) -> None:
    lines = [
        {"best": value > max(accuracies[:number], default=-1)}
        for number, value in enumerate(accuracies)
    ]
    since_best = next((n for n, line in enumerate(reversed(lines)) if line["best"]), 0)
    assert is_over(lines, config(patience=patience)) == (0 < patience <= since_best)


def test_the_best_weights_are_those_of_the_last_line_that_was_best(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing was evaluated yet"):
        best_weights(tmp_path)
    lines = [{"step": 10, "best": True}, {"step": 20, "best": True}, {"step": 30, "best": False}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / LINES).write_text(text + '{"step": 40, "be')
    save_file({"a": torch.ones(2)}, tmp_path / WEIGHTS)
    step, weights = best_weights(tmp_path)
    assert step == 20
    assert weights["a"].tolist() == [1, 1]


class Rows(ToyTask):
    """A toy task with this many training rows."""

    def __init__(self, count: int) -> None:
        self.count = count

    def rows(self, split: str) -> list[Row]:
        assert split == "train"
        return [toy_row(str(n), f"question {n}", f"gold{n}") for n in range(self.count)]


@given(st.integers(5, 40), st.integers(0, 3))
def test_rows_set_aside_are_no_training_rows_and_the_same_for_every_seed(
    count: int, seed: int
) -> None:
    settings = config().model_copy(update={"seed": seed})
    train, validation = split_training(Rows(count), settings)
    assert len(validation) == 4
    assert sorted(row.uid for row in train + validation) == sorted(
        row.uid for row in Rows(count).rows("train")
    )
    assert validation == split_training(Rows(count), config()).validation


def test_nothing_is_set_aside_without_validation() -> None:
    train, validation = split_training(Rows(3), Config())
    assert (len(train), validation) == (3, [])


def test_too_few_rows_are_an_error_that_names_the_setting() -> None:
    with pytest.raises(UserError, match=r"4 training rows.*evaluation\.validation_rows=4"):
        split_training(Rows(4), config())


@pytest.mark.parametrize("evaluation", [{"every": 5}, {"every": 0, "patience": 1}])
def test_settings_that_contradict_each_other_are_refused(evaluation: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"evaluation\.(every|patience)"):
        config(**evaluation)
