from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unisd_core.objective.features import feature_distance


def states(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_feature_distance_by_hand() -> None:
    student = torch.tensor([[1.0, 2.0], [0.0, 0.0]], requires_grad=True)
    teacher = torch.tensor([[0.0, 0.0], [0.0, 0.0]], requires_grad=True)
    distance = feature_distance(student, teacher)
    assert distance.tolist() == [2.5, 0.0]
    distance.sum().backward()
    assert student.grad.tolist() == [[1.0, 2.0], [0.0, 0.0]] and teacher.grad is None


def test_feature_distance_is_float32_for_low_precision_states() -> None:
    student = torch.full((1, 4096), 1.0, dtype=torch.bfloat16)
    teacher = torch.full((1, 4096), 1.0 + 2**-7, dtype=torch.bfloat16)
    distance = feature_distance(student, teacher)
    assert distance.dtype == torch.float32 and distance.item() == 2**-14


def test_layers_are_averaged() -> None:
    student, teacher = states(3, 4, 6), states(3, 4, 6, seed=1)
    each = [feature_distance(student[layer], teacher[layer]) for layer in range(3)]
    torch.testing.assert_close(feature_distance(student, teacher), sum(each) / 3)


def test_normalised_states_have_a_scale_no_more() -> None:
    student, teacher = states(4, 6).requires_grad_(), states(4, 6, seed=1)
    plain = feature_distance(student, teacher, normalise=True)
    scaled = feature_distance(student * 50, teacher * 0.2, normalise=True)
    torch.testing.assert_close(scaled, plain, rtol=1e-4, atol=1e-4)
    # Both have a mean square of 1: the distance is twice one minus the cosine.
    cosine = torch.cosine_similarity(student, teacher)
    torch.testing.assert_close(plain, 2 - 2 * cosine, rtol=1e-4, atol=1e-4)
    gradient = torch.autograd.grad(plain.sum(), student)[0]
    # The distance does not change along the state itself.
    assert torch.all((gradient * student).sum(-1).abs() < 1e-4) and gradient.abs().max() > 0.1


def test_a_state_of_zeros_has_a_finite_gradient() -> None:
    student = torch.zeros(2, 6, requires_grad=True)
    feature_distance(student, torch.ones(2, 6), normalise=True).sum().backward()
    assert student.grad.isfinite().all()


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\(3, 4, 6\)"):
        feature_distance(states(3, 4, 6), states(4, 6))
