from __future__ import annotations

import math
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unisd_core.config.method import ImportanceConfig
from unisd_core.objective.importance import importance_weights

LEVELS: tuple[Literal["token", "sequence"], ...] = ("token", "sequence")


def logs(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).log()


def test_token_level_by_hand() -> None:
    student = logs(0.3, 0.3, 0.3, 0.3).requires_grad_()
    got = importance_weights(
        student,
        logs(0.2, 0.6, 0.1, 0.1),
        torch.tensor([True, True, True, False]),
        torch.tensor([0, 0, 1, 2]),
        ImportanceConfig(level="token", cap=2.0),
    )
    torch.testing.assert_close(got.weight_N, logs(1.5, 0.5, 2.0, 1.0).exp())
    assert got.capped_N.tolist() == [False, False, True, False]
    assert not got.weight_N.requires_grad


def test_sequence_level_by_hand() -> None:
    got = importance_weights(
        logs(0.3, 0.3, 0.3, 0.3, 0.3),
        logs(0.2, 0.2, 0.1, 0.6, 0.1),
        torch.tensor([True, True, True, True, False]),
        torch.tensor([0, 2, 2, 0, 1]),
        ImportanceConfig(level="sequence", cap=2.0),
    )
    # Row 0 has 1.5 * 0.5, row 2 has 1.5 * 3.
    torch.testing.assert_close(got.weight_N, logs(0.75, 2.0, 2.0, 0.75, 1.0).exp())
    assert got.capped_N.tolist() == [False, True, True, False, False]


@pytest.mark.parametrize("level", ["off", *LEVELS])
def test_fresh_rows_weigh_1_whatever_the_engine_reported(level: Any) -> None:
    student, behaviour = logs(0.3, 0.3), torch.tensor([math.nan, -1.0])
    fresh = torch.zeros(2, dtype=torch.bool)
    config = ImportanceConfig(level=level, cap=0.5)
    got = importance_weights(student, behaviour, fresh, torch.tensor([0, 1]), config)
    assert got.weight_N.tolist() == [1.0, 1.0] and not got.capped_N.any()


def test_a_huge_ratio_is_capped_and_a_faulty_one_is_seen() -> None:
    student, behaviour = torch.zeros(2), torch.tensor([-1e4, math.nan])
    row, stale = torch.tensor([0, 1]), torch.ones(2, dtype=torch.bool)
    for level in LEVELS:
        weight = importance_weights(student, behaviour, stale, row, ImportanceConfig(level=level))[
            0
        ]
        assert weight[0] == 2.0 and weight[1].isnan()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=0, max_size=12),
    st.sampled_from(LEVELS),
    st.floats(0.1, 10.0),
    st.integers(0, 10**6),
    st.randoms(),
)
def test_range_and_order(
    rows: list[int], level: Literal["token", "sequence"], cap: float, seed: int, random: Any
) -> None:
    generator = torch.Generator().manual_seed(seed)
    student, behaviour, chance = -5 * torch.rand(
        3, len(rows), generator=generator, dtype=torch.float64
    )
    stale, row = chance < -2.5, torch.tensor(rows, dtype=torch.long)
    config = ImportanceConfig(level=level, cap=cap)
    weight, capped = importance_weights(student, behaviour, stale, row, config)
    assert torch.all((weight > 0) & (weight <= max(cap, 1.0) * (1 + 1e-12)))
    order = list(range(len(rows)))
    random.shuffle(order)
    shuffled = importance_weights(
        student[order], behaviour[order], stale[order], row[order], config
    )
    torch.testing.assert_close(shuffled.weight_N, weight[order])
    same = importance_weights(student, student, stale, row, config)
    torch.testing.assert_close(same.weight_N[stale], torch.full_like(student, min(cap, 1.0))[stale])
    assert cap < 1.0 or torch.all(same.weight_N == 1.0)
    assert capped.shape == weight.shape
