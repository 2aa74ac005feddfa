"""Feature matching: distance between final hidden states (paper, Eq. 6, divided by H)."""

from __future__ import annotations

import torch
from torch import Tensor


def feature_distance(student_hidden_NH: Tensor, teacher_hidden_NH: Tensor) -> Tensor:
    """Mean squared difference over the H features of each token, shape (N,).

    Float32 (float64 for float64 states) whatever the storage type; only the student
    carries a gradient.
    """
    dtype = torch.promote_types(student_hidden_NH.dtype, torch.float32)
    difference_NH = student_hidden_NH.to(dtype) - teacher_hidden_NH.detach().to(dtype)
    return difference_NH.square().mean(-1)
