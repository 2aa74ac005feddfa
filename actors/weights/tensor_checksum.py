"""Tensor checksum: tells whether tensors arrived as they were sent, computed where they are.

Whole weights stay on the device: only one number of a tensor leaves it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

CHUNK = 2**22
"""Elements that are widened at a time."""
ODD = 0x1E3779B97F4A7C15
"""Spreads the places of elements over 64 bits."""


class TensorChecksum:
    """Of named tensors, in the order in which they are added; the same on every device.

    It finds what faults change: bits, places, names, types, shapes and lengths. It is no defence
    against tensors made to have the same one.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, name: str, tensor: Tensor) -> None:
        """Waits for the device."""
        shape = tuple(tensor.shape)
        line = f"{name}\0{tensor.dtype}\0{shape}\0{_weighted_sum(tensor)}\n"
        self._digest.update(line.encode())

    def hexdigest(self) -> str:
        """The checksum of what was added so far."""
        return self._digest.hexdigest()


def _weighted_sum(tensor: Tensor) -> int:
    """Sum over the elements' bits as integers, each times an odd number that depends on its place,
    modulo 2^64. One element that differs always changes it."""
    import torch

    words = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    flat = tensor.detach().contiguous().reshape(-1).view(words[tensor.element_size()])
    total = torch.zeros((), dtype=torch.int64, device=flat.device)
    for first in range(0, flat.numel(), CHUNK):
        part = flat[first : first + CHUNK].to(torch.int64)
        places = torch.arange(first, first + part.numel(), device=flat.device)
        total += (part * ((2 * places + 1) * ODD)).sum()
    return int(total)
