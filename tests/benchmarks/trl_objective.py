"""Our divergence against TRL's GKD loss on the same states; run by TRL's environment:

PYTHONPATH=. <python with trl 1.16> -m tests.benchmarks.trl_objective [tokens] [vocabulary]
"""

from __future__ import annotations

import sys

from torch import Tensor
from trl.experimental.gkd import GKDTrainer

from tests.benchmarks.objective import ratios


def trl(student_NH: Tensor, teacher_NH: Tensor, head_VH: Tensor, alpha: float) -> Tensor:
    """Both sides' logits, and TRL's loss of them."""
    student_BTV, teacher_BTV = (student_NH @ head_VH.T)[None], (teacher_NH @ head_VH.T)[None]
    return GKDTrainer.generalized_jsd_loss(student_BTV, teacher_BTV, beta=alpha)


if __name__ == "__main__":
    tokens, vocabulary = (int(value) for value in sys.argv[1:] or ("1024", "49152"))
    ratios(tokens, vocabulary, trl)
