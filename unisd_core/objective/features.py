"""Feature matching: distance between hidden states of student and teacher (paper, Eq. 6)."""

from __future__ import annotations

import torch
from torch import Tensor

NORM_EPSILON = 1e-6


def feature_distance(
    student_hidden_NH: Tensor, teacher_hidden_NH: Tensor, *, normalise: bool = False
) -> Tensor:
    """Mean squared difference over the H features of each token, shape (N,).

    States of several layers, (L, N, H), give the mean over layers. ``normalise`` scales each state
    to a root mean square of 1 first; the gradient passes through that scaling. Float32 (float64
    for float64 states) whatever the storage type; only the student carries a gradient. Raises
    ValueError when the two shapes differ.
    """
    if student_hidden_NH.shape != teacher_hidden_NH.shape:
        raise ValueError(
            f"states of the student {tuple(student_hidden_NH.shape)} and of the teacher "
            f"{tuple(teacher_hidden_NH.shape)} differ in shape"
        )
    dtype = torch.promote_types(student_hidden_NH.dtype, torch.float32)
    student, teacher = student_hidden_NH.to(dtype), teacher_hidden_NH.detach().to(dtype)
    if normalise:
        student, teacher = _unit_scale(student), _unit_scale(teacher)
    distance = (student - teacher).square().mean(-1)
    return distance.mean(0) if distance.dim() > 1 else distance


def _unit_scale(state: Tensor) -> Tensor:
    return state * torch.rsqrt(state.square().mean(-1, keepdim=True) + NORM_EPSILON)
