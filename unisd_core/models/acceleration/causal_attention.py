"""Causal attention of whole rows by torch's kernels.

The CPU kernel computes what the mask hides along with the rest, unless it lies behind the keys it
is given. Blocks of queries that see no later keys take a third less time at 128 to 512 tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

BLOCK, BLOCKS = 32, 16
"""Queries of a block at least, and blocks at most."""


def causal_attention(
    query_BHTD: Tensor,
    key_BGTD: Tensor,
    value_BGTD: Tensor,
    *,
    scale: float | None,
    dropout: float = 0.0,
    window: int | None = None,
) -> Tensor:
    """(B, H, T, D): every token attends to itself and those before it, or to the last ``window`` of
    them. H is a multiple of G, the number of key heads. ``scale`` None is D ** -0.5."""
    length = query_BHTD.shape[2]
    settings: dict[str, Any] = {
        "scale": scale,
        "dropout_p": dropout,
        "enable_gqa": query_BHTD.shape[1] != key_BGTD.shape[1],
    }
    on_cpu = query_BHTD.device.type == "cpu"
    if window is not None and length <= window:
        window = None
    if not on_cpu and window is None:
        return scaled_dot_product_attention(
            query_BHTD, key_BGTD, value_BGTD, is_causal=True, **settings
        )
    seen_TT = torch.ones(length, length, dtype=torch.bool, device=query_BHTD.device).tril()
    if window is not None:
        seen_TT &= ~seen_TT.tril(-window)
    size = max(BLOCK, -(-length // BLOCKS)) if on_cpu else length
    return torch.cat(
        [
            scaled_dot_product_attention(
                query_BHTD[:, :, first : first + size],
                key_BGTD[:, :, : first + size],
                value_BGTD[:, :, : first + size],
                attn_mask=seen_TT[first : first + size, : first + size],
                **settings,
            )
            for first in range(0, length, size)
        ],
        dim=2,
    )
