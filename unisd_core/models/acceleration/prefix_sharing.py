"""A model reads each token of a prefix tree once.

All of a block but attention works on each token alone: it sees the tokens of the tree side by side
and without padding. Attention sees whole rows. What follows attention in the last block is computed
where somebody reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from unisd_core.models.acceleration.causal_attention import causal_attention
from unisd_core.models.acceleration.prefix_tree import PrefixTree

ATTENTION = "prefix_tree"
"""Name under which models find ``_attend``."""
ON_TOKENS = (
    "self_attn.q_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)
"""Linear layers of a block whose output at one token nothing reads at another."""
_WINDOWS, _SHORT = ("sliding_window", "attention_chunk_size"), 3


def enable_prefix_sharing(model: PreTrainedModel) -> None:
    """Give ``model`` attention that understands trees, unless it then computes anything else: it
    may have other layers that mix tokens, or attention of its own.

    Both are compared on rows that are longer than the windows of its attention, which are short
    for the comparison."""
    if not model._supports_attention_backend:
        return
    before = model.config._attn_implementation
    ids_BT = torch.arange(24, device=model.device).view(2, 12)
    ids_BT[1, :4] = ids_BT[0, :4]
    with _short_windows(model):
        whole_BTH = model.base_model(ids_BT, use_cache=False).last_hidden_state
        model.set_attn_implementation(ATTENTION)
        tree_BTH = forward_rows(model.base_model, ids_BT, every_layer=False)[-1]
    if not torch.allclose(tree_BTH, whole_BTH, rtol=0.02, atol=0.05):
        model.set_attn_implementation(before)


@contextmanager
def _short_windows(model: PreTrainedModel) -> Iterator[None]:
    """Within, every window of ``model`` is ``_SHORT`` tokens: some models tell attention of it, and
    some only the mask, which reads the configuration."""
    holders = [model.config, model.config.get_text_config(decoder=True), *model.modules()]
    kept = [
        (holder, name, getattr(holder, name))
        for holder in holders
        for name in _WINDOWS
        if type(getattr(holder, name, None)) is int
    ]
    for holder, name, _ in kept:
        setattr(holder, name, _SHORT)
    try:
        yield
    finally:
        for holder, name, tokens in kept:
            setattr(holder, name, tokens)


def forward_rows(
    backbone: PreTrainedModel,
    ids_BT: Tensor,
    every_layer: bool,
    wanted_BT: Tensor | None = None,
) -> list[Tensor]:
    """States of rows that end where ``PADDING`` begins: (B, T, H), or (M, H) those where
    ``wanted_BT`` is true, in the same order. The last are those after the last norm; before them,
    where ``every_layer``, come those of the embeddings and of every block but the last."""
    settings = {"use_cache": False, "output_hidden_states": every_layer}
    if not _reads_trees(backbone):
        whole = _states(backbone(ids_BT.clamp(min=0), **settings))
        return whole if wanted_BT is None else [states_BTH[wanted_BT] for states_BTH in whole]
    tree = PrefixTree.of(ids_BT)
    # Models leave a mask of four axes as it is, and attention here does not look at it.
    no_mask = torch.empty(1, 1, 1, 1, device=ids_BT.device)
    place_M = None if wanted_BT is None else tree.place_BT[wanted_BT]
    with _last_block_at(backbone, place_M):
        out = backbone(
            tree.id_N[None],
            position_ids=tree.position_N[None],
            attention_mask=no_mask,
            prefix_tree=tree,
            **settings,
        )
    states = [states_1NH[0] for states_1NH in _states(out)]
    if place_M is None:
        return [tree.rows(states_NH) for states_NH in states]
    return [states_NH.index_select(0, place_M) for states_NH in states]


def _states(out: Any) -> list[Tensor]:
    return [*(out.hidden_states or ())[:-1], out.last_hidden_state]


def _reads_trees(backbone: PreTrainedModel) -> bool:
    text = backbone.config.get_text_config(decoder=True)
    kinds = set(getattr(text, "layer_types", None) or ["full_attention"])
    return text._attn_implementation == ATTENTION and kinds <= {
        "full_attention",
        "sliding_attention",
    }


def _attend(
    module: nn.Module,
    query_BHTD: Tensor,
    key_BGTD: Tensor,
    value_BGTD: Tensor,
    attention_mask: Tensor | None,
    prefix_tree: PrefixTree | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Torch's attention, over the rows of ``prefix_tree`` where it is given."""
    given = (query_BHTD, key_BGTD, value_BGTD)
    if prefix_tree is None:
        return sdpa_attention_forward(module, *given, attention_mask, **settings)
    out_BHTD = causal_attention(
        *(prefix_tree.rows(each[0].transpose(0, 1)).transpose(1, 2) for each in given),
        scale=settings.get("scaling"),
        dropout=settings.get("dropout", 0.0),
        window=settings.get("sliding_window"),
    )
    return prefix_tree.tokens(out_BHTD.transpose(1, 2))[None], None


@contextmanager
def _last_block_at(backbone: PreTrainedModel, place_M: Tensor | None) -> Iterator[None]:
    """Within, linear layers of the last block compute what is read at ``place_M``, and leave zeros
    elsewhere."""
    layers = getattr(backbone, "layers", None)
    if place_M is None or not isinstance(layers, nn.ModuleList):
        yield
        return
    wanted_M = place_M.unique()
    with ExitStack() as hooks:
        for name, module in layers[-1].named_modules():
            if name in ON_TOKENS:
                hooks.enter_context(_hooked(module, wanted_M))
        yield


@contextmanager
def _hooked(module: nn.Module, wanted_M: Tensor) -> Iterator[None]:
    length = 0

    def before(_: nn.Module, given: tuple[Tensor]) -> Tensor:
        nonlocal length
        length = given[0].shape[1]
        return given[0].index_select(1, wanted_M)

    def after(_: nn.Module, __: tuple[Tensor], out_1MX: Tensor) -> Tensor:
        zeros_1NX = out_1MX.new_zeros(1, length, out_1MX.shape[-1])
        return zeros_1NX.index_copy(1, wanted_M, out_1MX)

    handles = module.register_forward_pre_hook(before), module.register_forward_hook(after)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


AttentionInterface.register(ATTENTION, _attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
