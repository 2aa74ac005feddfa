"""What all rows of a batch begin with, as a system prompt or instructions, is read once.

Under causal attention the states of a prefix do not depend on what follows it, so its keys and
values serve every row. Gradients add up over the rows on their way back.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

SMALLEST_GAIN = 0.1
"""Share of a batch's tokens that has to be saved: a second pass, and the mask that attention then
needs, cost about as much as reading a tenth of them."""


def read_rows(backbone: PreTrainedModel, ids_BT: Tensor, every_layer: bool) -> list[Tensor]:
    """States (B, T, H) for ``ids_BT``, padded on the right: those after the last norm, and before
    them, where ``every_layer``, those of the embeddings and of every block but the last."""
    length = _prefix_length(ids_BT) if _shares(backbone) else 0
    if length * (len(ids_BT) - 1) < SMALLEST_GAIN * ids_BT.numel():
        return _states(backbone(ids_BT, use_cache=False, output_hidden_states=every_layer))
    prefix = backbone(ids_BT[:1, :length], use_cache=True, output_hidden_states=every_layer)
    cache = prefix.past_key_values
    cache.batch_repeat_interleave(len(ids_BT))
    rest = backbone(
        ids_BT[:, length:], past_key_values=cache, use_cache=True, output_hidden_states=every_layer
    )
    return [
        torch.cat([first_1PH.expand(len(ids_BT), -1, -1), others_BTH], dim=1)
        for first_1PH, others_BTH in zip(_states(prefix), _states(rest), strict=True)
    ]


def _states(out: Any) -> list[Tensor]:
    return [*(out.hidden_states or ())[:-1], out.last_hidden_state]


def _prefix_length(ids_BT: Tensor) -> int:
    """Tokens that all rows begin with; at least one is left to each."""
    same_T = (ids_BT == ids_BT[:1]).all(dim=0)
    return int(same_T[:-1].cumprod(dim=0).sum())


def _shares(backbone: PreTrainedModel) -> bool:
    """Whether all layers look at all earlier tokens and remember nothing else of them; and no layer
    is a shard, which is gathered and given up once for each pass."""
    text = backbone.config.get_text_config(decoder=True)
    kinds = set(getattr(text, "layer_types", None) or ["full_attention"])
    plain = kinds == {"full_attention"} and getattr(text, "sliding_window", None) is None
    return plain and not any(isinstance(p, DTensor) for p in backbone.parameters())
