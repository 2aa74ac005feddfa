"""Small checkpoints that differ from version to version."""

from __future__ import annotations

import torch

from actors.admission.ledger import Ledger
from actors.checkpoints.folder import Checkpoint


def make(steps: int, version: int | None = None) -> Checkpoint:
    """A checkpoint after ``steps`` steps of two rows, with one more row in flight; ``version`` is
    what it calls itself where that is another number."""
    ledger = Ledger(rows=9, batch=2, staleness=1, steps=9, seed=0)
    for _ in range(steps):
        ledger.advance([admission.visit for admission in ledger.admit(2)])
    ledger.admit(1)
    tensors = {"a": torch.full((2, 3), float(steps)), "b": torch.ones(1)}
    totals, thresholds = {"rows": 2 * steps}, {"clip": 1.5, "agreement_scale": None}
    number = steps if version is None else version
    return Checkpoint(number, tensors, tensors, tensors, ledger.state(), totals, thresholds)
