from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from unisd_core.config.method import TeacherConfig
from unisd_core.training.teacher import TeacherWeights


def adapter(value: float, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    return {
        "q.lora_A": torch.full((2, 3), value, dtype=dtype),
        "q.lora_B": torch.full((3, 2), -value, dtype=dtype),
    }


def value(state: dict[str, Tensor]) -> float:
    assert torch.all(state["q.lora_B"] == -state["q.lora_A"].T)
    return float(state["q.lora_A"][0, 0])


def average(decay: float, initial: dict[str, Tensor]) -> TeacherWeights:
    return TeacherWeights(TeacherConfig(kind="ema", ema_decay=decay), initial)


@pytest.mark.parametrize(("decay", "expected"), [(1.0, 1.0), (0.0, 3.0), (0.9, 1.2), (0.25, 2.5)])
def test_the_average_moves_towards_the_student_by_one_minus_decay(
    decay: float, expected: float
) -> None:
    teacher = average(decay, adapter(1.0))
    assert teacher.after_step(1, adapter(3.0))
    assert value(teacher.state()) == pytest.approx(expected, rel=1e-6)
    assert (teacher.metrics(adapter(3.0))["teacher_moved"] > 0) == (decay < 1)


@given(st.floats(0.0, 1.0), st.lists(st.floats(-100, 100), min_size=1, max_size=8))
def test_several_steps_are_the_weighted_sum(decay: float, students: list[float]) -> None:
    teacher = average(decay, adapter(1.0))
    expected = 1.0
    for step, student in enumerate(students, 1):
        teacher.after_step(step, adapter(student))
        expected = decay * expected + (1 - decay) * student
    assert value(teacher.state()) == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_small_steps_of_a_low_precision_student_are_not_lost() -> None:
    teacher = average(0.99, adapter(1.0, torch.bfloat16))
    for step in range(1, 101):
        teacher.after_step(step, adapter(1.0078125, torch.bfloat16))
    expected = 1.0 + 0.0078125 * (1 - 0.99**100)
    assert value(teacher.state()) == pytest.approx(expected, abs=1e-5)


def test_norms() -> None:
    teacher = average(0.5, adapter(1.0))
    assert teacher.metrics(adapter(1.0)) == {"ema_distance": 0.0, "teacher_moved": 0.0}
    teacher.after_step(1, adapter(3.0))
    norms = teacher.metrics(adapter(3.0))
    assert norms["teacher_moved"] == pytest.approx(12**0.5)  # 12 elements, each moved by 1
    assert norms["ema_distance"] == pytest.approx(12**0.5)
    assert teacher.metrics(teacher.state())["ema_distance"] == 0.0


def test_a_state_is_a_snapshot_and_the_initial_tensors_are_left_alone() -> None:
    initial = adapter(1.0)
    teacher = average(0.0, initial)
    before = teacher.state()
    teacher.after_step(1, adapter(3.0))
    assert value(before) == 1.0 and value(initial) == 1.0


def test_mistakes_are_refused() -> None:
    teacher = average(0.5, adapter(1.0))
    with pytest.raises(ValueError, match="missing.*q.lora_B"):
        teacher.after_step(1, {"q.lora_A": torch.zeros(2, 3)})
    with pytest.raises(ValueError, match="q.lora_A: shape"):
        teacher.after_step(1, {"q.lora_A": torch.zeros(1), "q.lora_B": torch.zeros(3, 2)})
    with pytest.raises(ValueError, match="teacher state"):
        teacher.load_state_dict({})


def test_frozen_never_moves() -> None:
    teacher = TeacherWeights(TeacherConfig(kind="frozen"), adapter(1.0))
    assert not any(teacher.after_step(step, adapter(9.0)) for step in range(1, 6))
    assert value(teacher.state()) == 1.0
    assert teacher.metrics(adapter(9.0))["teacher_moved"] == 0.0


def test_live_is_the_student_exactly() -> None:
    teacher = TeacherWeights(TeacherConfig(kind="live"), adapter(1.0))
    assert teacher.after_step(1, adapter(0.1))
    assert torch.equal(teacher.state()["q.lora_A"], adapter(0.1)["q.lora_A"])
    assert teacher.metrics(adapter(0.1))["ema_distance"] == 0.0


def test_ema_moves_every_so_many_steps() -> None:
    teacher = TeacherWeights(TeacherConfig(kind="ema", ema_decay=0.5, ema_every=3), adapter(0.0))
    updated = [teacher.after_step(step, adapter(1.0)) for step in range(1, 7)]
    assert updated == [False, False, True, False, False, True]
    assert value(teacher.state()) == pytest.approx(0.75)
    assert teacher.metrics(adapter(1.0))["teacher_moved"] > 0


def test_a_restored_teacher_continues_bit_for_bit() -> None:
    settings = TeacherConfig(kind="ema", ema_decay=0.9)
    undisturbed = TeacherWeights(settings, adapter(1.0))
    undisturbed.after_step(1, adapter(3.0))
    restored = TeacherWeights(settings, adapter(7.0))
    restored.load_state_dict(undisturbed.state_dict())
    for teacher in (undisturbed, restored):
        teacher.after_step(2, adapter(5.0))
    assert torch.equal(restored.state()["q.lora_A"], undisturbed.state()["q.lora_A"])
    assert restored.metrics(adapter(5.0)) == undisturbed.metrics(adapter(5.0))


@pytest.mark.parametrize("kind", ["ema", "live"])
def test_an_average_that_follows_the_frozen_weights_is_inert(kind: str) -> None:
    students = [adapter(float(step)) for step in range(2, 6)]
    inert, moving = (
        TeacherWeights(TeacherConfig(kind=kind, ema_decay=0.5, follows=follows), adapter(1.0))
        for follows in ("frozen", "trained")
    )
    assert not any(inert.after_step(step, s) for step, s in enumerate(students, 1))
    assert all(moving.after_step(step, s) for step, s in enumerate(students, 1))
    assert value(inert.state()) == 1.0
    assert inert.metrics(students[-1])["teacher_moved"] == 0.0
    assert inert.metrics(students[-1])["ema_distance"] > 0.0
    assert moving.metrics(students[-1])["teacher_moved"] > 0.0
