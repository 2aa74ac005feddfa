from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from actors.checkpoints import folder as checkpoints
from pipelines.training.validation import LINES, WEIGHTS, Validation, best_weights, is_over
from tests.support.checkpoints import make
from tests.support.toy_task import ToyTask, toy_row
from unisd_core.common.errors import UserError
from unisd_core.config.run import Config
from unisd_core.tasks.row import Row
from unisd_core.tasks.splits import split_training


def config(**evaluation: int | str) -> Config:
    settings = {"eval_steps": 10, "validation_rows": 4, **evaluation}
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
    assert is_over(lines, config(early_stopping_patience=patience)) == (0 < patience <= since_best)


def test_the_best_weights_are_those_of_the_last_line_that_was_best(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing was evaluated yet"):
        best_weights(tmp_path)
    measured = [(10, True, 0.25), (20, True, 0.5), (30, False, 0.25)]
    lines = [{"step": n, "best": best, "accuracy": right} for n, best, right in measured]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / LINES).write_text(text + '{"step": 40, "be')
    save_file({"a": torch.ones(2)}, tmp_path / WEIGHTS)
    step, weights = best_weights(tmp_path)
    assert step == 20
    assert weights["a"].tolist() == [1, 1]


def test_a_line_that_was_cut_off_does_not_take_the_next_one_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {"step": 10, "best": True, "accuracy": 0.25}
    (tmp_path / LINES).write_text(json.dumps(before) + '\n{"step": 20, "acc')
    found = SimpleNamespace(version=20, adapter={"a": torch.ones(2)})
    monkeypatch.setattr(checkpoints, "newest_step", lambda folder: found.version)
    monkeypatch.setattr(checkpoints, "newest", lambda folder, note=None: found)
    measured = {"step": 20, "accuracy": 0.5, "rows": 4, "versions": [20, 20]}
    monkeypatch.setattr(Validation, "_measure", lambda self, test_set, step: measured)
    setup = SimpleNamespace(config=config(), validation_set=lambda: "rows")
    Validation(setup, SimpleNamespace(), tmp_path).look(at_end=True)
    step, weights = best_weights(tmp_path)
    assert step == 20 and weights["a"].tolist() == [1, 1]
    steps = [json.loads(line)["step"] for line in (tmp_path / LINES).read_text().splitlines()]
    assert steps == [10, 20]


@pytest.mark.parametrize("data", [b"", b"\xff" * 20, None])
def test_best_weights_that_cannot_be_read_are_named(tmp_path: Path, data: bytes | None) -> None:
    (tmp_path / LINES).write_text('{"step": 10, "best": true, "accuracy": 1}\n')
    if data is not None:
        (tmp_path / WEIGHTS).write_bytes(data)
    with pytest.raises(UserError, match=WEIGHTS):
        best_weights(tmp_path)


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


def test_one_question_for_all_rows_is_an_error_that_names_the_setting() -> None:
    class Same(Rows):
        def rows(self, split: str) -> list[Row]:
            return [toy_row(str(n), "question", f"gold{n}") for n in range(self.count)]

    with pytest.raises(UserError, match=r"asked by more rows.*evaluation\.validation_rows=4"):
        split_training(Same(9), config())


@pytest.mark.parametrize(
    "evaluation", [{"eval_steps": 5}, {"eval_steps": 0, "early_stopping_patience": 1}]
)
def test_settings_that_contradict_each_other_are_refused(evaluation: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"evaluation\.(eval_steps|early_stopping_patience)"):
        config(**evaluation)


class Measured(Validation):
    """Validation that notes which steps it measures; every accuracy is the same."""

    def __init__(self, run_path: Path, every: int) -> None:
        setup: Any = SimpleNamespace(config=config(eval_steps=every), validation_set=lambda: "rows")
        super().__init__(setup, SimpleNamespace(), run_path)  # type: ignore[arg-type]

    def _measure(self, test_set: Any, step: int) -> dict[str, Any]:
        spread = {"low": 0.0, "high": 1.0, "rows": 4, "versions": [step, step]}
        return {"step": step, "accuracy": 0.5, **spread}


def steps_measured(run_path: Path) -> list[int]:
    text = (run_path / LINES).read_text() if (run_path / LINES).exists() else ""
    return [json.loads(line)["step"] for line in text.splitlines()]


def test_each_due_checkpoint_is_measured_once_and_the_last_in_any_case(tmp_path: Path) -> None:
    validation = Measured(tmp_path, every=10)
    for version in (0, 10, 15, 20, 25):
        checkpoints.save(tmp_path / "checkpoints", make(1, version=version), keep=1)
        for _ in range(2):
            validation.look(at_end=False)
    assert steps_measured(tmp_path) == [10, 20]
    validation.look(at_end=True)
    assert steps_measured(tmp_path) == [10, 20, 25]


def test_a_broken_checkpoint_is_named_once_and_the_one_before_not_measured_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    validation = Measured(tmp_path, every=10)
    folder = tmp_path / "checkpoints"
    checkpoints.save(folder, make(1, version=10), keep=2)
    validation.look(at_end=False)
    path = checkpoints.save(folder, make(1, version=20), keep=2)
    (path / "state.json").write_text("{}")
    for at_end in (False, False, True):
        validation.look(at_end)
    assert steps_measured(tmp_path) == [10]
    assert capsys.readouterr().out.count("step-000020 is skipped") == 1
