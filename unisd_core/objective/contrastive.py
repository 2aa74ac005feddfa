"""Token-level contrast: nearer to the view with the reference than to one with a wrong reference.

The term (paper, Eq. 5) compares log-probs of the sampled token only; the negative view
never needs a vocabulary. The mean over a row's tokens is taken where the terms are summed.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class ContrastiveTerms(NamedTuple):
    """The hinge of each token, and where it acts."""

    hinge_N: Tensor
    """max(0, margin + |l - l+| - |l - l-|) in nats; 0 for tokens without a negative."""
    active_N: Tensor
    """bool: the hinge is above 0 and has a gradient."""


def contrastive_hinge(
    student_logprob_N: Tensor,
    teacher_logprob_N: Tensor,
    negative_logprob_N: Tensor,
    margin: float,
    has_negative_N: Tensor | None = None,
) -> ContrastiveTerms:
    """Hinge per token with l, l+ and l- of student, reference view and negative view.

    Only the student carries a gradient. Where ``has_negative_N`` is False the value of
    ``negative_logprob_N`` has no effect; it may be NaN.
    """
    positive = teacher_logprob_N.detach()
    negative = negative_logprob_N.detach().to(student_logprob_N.dtype)
    slack = margin + (student_logprob_N - positive).abs() - (student_logprob_N - negative).abs()
    if has_negative_N is not None:
        slack = torch.where(has_negative_N, slack, torch.zeros_like(slack))
    hinge_N = slack.clamp(min=0.0)
    return ContrastiveTerms(hinge_N, hinge_N.detach() > 0)
