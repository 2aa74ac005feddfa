"""Rows with bad numbers leave no trace in the update of the others."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.rows import scored
from unisd_core.config.run import Config
from unisd_core.objective.metrics import finalise_metrics
from unisd_core.training.student import Student
from unisd_core.training.update import UpdateResult, update_without_bad_rows

Row = dict[str, Any]
VERSION = 50
LARGEST = 3e38
"""Finite, but the sum of two is not."""


def fill(name: str, value: float) -> Callable[[Row], None]:
    def poison(row: Row) -> None:
        row[name] = [value] * len(row[name])

    return poison


def spoil(name: str, value: float) -> Callable[[Row], None]:
    def poison(row: Row) -> None:
        row[name][-1] = value

    return poison


TOPK = {"divergence": {"top_k": 2}, "features": {"weight": 0}}
LAYERS = {"features": {"weight": 1.0, "layers": [0, 1]}}
IMPORTANCE = {"importance": {"level": "sequence"}}

POISONS: dict[str, tuple[dict[str, Any], Callable[[Row], None], str]] = {
    "teacher NaN": ({}, fill("teacher_hidden", math.nan), "teacher_hidden"),
    "teacher infinite in one place": ({}, spoil("teacher_hidden", math.inf), "teacher_hidden"),
    "negative NaN": ({}, spoil("negative_logprobs", math.nan), "negative_logprobs"),
    "behaviour NaN": (IMPORTANCE, spoil("logprobs", math.nan), "logprobs"),
    "behaviour impossible": (IMPORTANCE, spoil("logprobs", -math.inf), "logprobs"),
    "weight NaN": ({}, spoil("token_weights", math.nan), "token_weights"),
    "layers NaN": (LAYERS, spoil("teacher_features", math.nan), "teacher_features"),
    "likely tokens infinite": (TOPK, spoil("teacher_logprobs", math.inf), "teacher_logprobs"),
    # Every number is finite; what becomes of them is not.
    "weights overflow": ({}, fill("token_weights", LARGEST), "loss_divergence"),
    "layers overflow": (LAYERS, fill("teacher_features", LARGEST), "loss_features"),
}


def settings_of(terms: dict[str, Any], finetune: str = "lora", **training: Any) -> Config:
    return Config.model_validate(
        {
            "model": {"finetune": finetune},
            "objective": terms,
            "training": {"learning_rate": 1e-2, "micro_batch_tokens": 60, **training},
        }
    )


def rows_of(config: Config, count: int = 6) -> list[Row]:
    rows = scored(count).to_pylist()
    for row in rows:
        tokens = len(row["completion_ids"])
        if config.objective.features.extra_layers:
            row["teacher_features"] = [0.5] * (2 * len(row["teacher_hidden"]))
        if config.objective.divergence.top_k:
            row |= {
                "teacher_hidden": None,
                "teacher_topk_ids": [[3, 4]] * tokens,
                "teacher_topk_logprobs": [[-0.5, -1.5]] * tokens,
                "teacher_logprobs": [-0.5] * tokens,
            }
    return rows


def table_of(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=scored(1).schema)


def alone(value: Any) -> list[Any]:
    return [value]


def attempt(student: Student, rows: list[Row]) -> UpdateResult:
    return update_without_bad_rows(student, table_of(rows), VERSION, alone)


def everything(student: Student) -> dict[str, torch.Tensor]:
    return student.weights() | student.optimizer_state()


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.parametrize("name", POISONS)
@pytest.mark.parametrize("finetune", ["lora", "full"])
def test_the_others_update_is_that_of_a_batch_without_it(tiny_model, name, finetune) -> None:
    terms, poison, blamed = POISONS[name]
    config = settings_of(terms, finetune)
    student, reference = Student(config, tiny_model), Student(config, tiny_model)
    rows = rows_of(config)
    expected = reference.update(table_of(rows[:2] + rows[3:]), VERSION, global_rows=5)
    poison(rows[2])
    done = attempt(student, rows)
    (bad,) = done.bad
    assert (bad.visit, bad.reason) == ((2, 0), f"not finite: {blamed}")
    assert done.visits == [(0, 0), (1, 0), (3, 0), (4, 0), (5, 0)]
    assert done.rows["uid"].to_pylist() == [f"row-{n}" for n in (0, 1, 3, 4, 5)]
    assert same(everything(student), everything(reference))
    assert done.sums is not None
    assert finalise_metrics(done.sums) == finalise_metrics(expected)


MIXED = ("teacher NaN", "negative NaN", "behaviour NaN", "weight NaN", "layers overflow")


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.integers(0, 3), st.sampled_from(MIXED), min_size=1))
def test_any_mixture_of_bad_rows_is_left_out(tiny_model, poisons) -> None:
    config = settings_of(IMPORTANCE | LAYERS)
    student, reference = Student(config, tiny_model), Student(config, tiny_model)
    before = everything(student)
    rows = rows_of(config, 4)
    sound = [row for number, row in enumerate(rows_of(config, 4)) if number not in poisons]
    for number, name in poisons.items():
        POISONS[name][1](rows[number])
    done = attempt(student, rows)
    assert sorted(row.position for row in done.bad) == sorted(poisons)
    if not sound:
        assert done.sums is None and same(everything(student), before)
        return
    reference.update(table_of(sound), VERSION, len(sound))
    assert same(everything(student), everything(reference))


def exploding(row: Row) -> None:
    """The loss is finite, the square of its gradient is not."""
    row["sequence_weight"] = 1e30


@pytest.mark.parametrize(
    ("training", "poison", "reason"),
    [
        ({}, exploding, "not finite: gradient"),
        ({"skip_grad_norm": 1e-4}, lambda row: None, "above training.skip_grad_norm"),
    ],
)
@pytest.mark.parametrize("finetune", ["lora", "full"])
def test_a_batch_that_is_skipped_changes_nothing(
    tiny_model, finetune, training, poison, reason
) -> None:
    config = settings_of({}, finetune, **training)
    student = Student(config, tiny_model)
    # Moments and step counts that a skipped batch could touch.
    trained = Student(settings_of({}, finetune), tiny_model)
    trained.update(table_of(rows_of(config)), VERSION, 6)
    student.restore(trained.weights(), trained.optimizer_state())
    before = everything(student)
    rows = rows_of(config)
    poison(rows[3])
    done = attempt(student, rows)
    assert done.sums is None and done.visits == [] and done.rows.num_rows == 0
    assert sorted(row.position for row in done.bad) == list(range(6))
    assert all(row.reason.endswith(reason) for row in done.bad)
    assert same(everything(student), before)
    # Nor is anything left over for the next one.
    student.config = trained.config
    fresh = rows_of(config, 5)
    assert attempt(student, fresh).sums is not None
    trained.update(table_of(fresh), VERSION, 5)
    assert same(everything(student), everything(trained))


def test_a_usual_gradient_is_below_the_norm_that_skips(tiny_model) -> None:
    student = Student(settings_of({}, skip_grad_norm=1e6), tiny_model)
    assert attempt(student, rows_of(student.config)).bad == []
