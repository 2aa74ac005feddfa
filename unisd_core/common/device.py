"""Where a torch stage computes, and with how many threads."""

from __future__ import annotations

import torch

from actors.generator.engine import usable_cores


def stage_device(gpus: float) -> torch.device:
    """The GPU Ray reserved for this process, or the CPU."""
    return torch.device("cuda" if gpus > 0 else "cpu")


def use_threads(threads: int, share: int = 1) -> None:
    """Set torch's CPU threads; 0 takes the usable cores divided by ``share`` processes."""
    torch.set_num_threads(threads or max(1, usable_cores() // share))
