from __future__ import annotations

import math

import torch

from unisd_core.objective.contrastive import contrastive_hinge


def test_hinge_by_hand() -> None:
    student = torch.tensor([-1.0, -1.0, -1.0], requires_grad=True)
    teacher = torch.tensor([-1.2, -1.2, -3.0])
    negative = torch.tensor([-4.0, -1.4, -0.5])
    hinge, active = contrastive_hinge(student, teacher, negative, margin=0.5)
    torch.testing.assert_close(hinge, torch.tensor([0.0, 0.3, 2.0]))
    assert active.tolist() == [False, True, True]
    hinge.sum().backward()
    # With both views on one side the pulls cancel; between them they add up.
    assert student.grad.tolist() == [0.0, 0.0, 2.0]


def test_only_the_student_is_moved() -> None:
    views = [torch.tensor([-1.0], requires_grad=True) for _ in range(3)]
    contrastive_hinge(views[0] * 2, views[1], views[2], margin=1.0).hinge_N.sum().backward()
    assert views[0].grad is not None and views[1].grad is None and views[2].grad is None


def test_tokens_without_a_negative_are_left_alone() -> None:
    student = torch.tensor([-1.0, -1.0], requires_grad=True)
    teacher = torch.tensor([-2.0, -2.0])
    negative = torch.tensor([math.nan, -9.0])
    has_negative = torch.tensor([False, True])
    hinge, active = contrastive_hinge(student, teacher, negative, 10.0, has_negative)
    hinge.sum().backward()
    assert hinge[0] == 0 and not active[0] and active[1]
    assert student.grad[0] == 0 and student.grad.isfinite().all()
