"""Loads tokenizer and base model, and reads the parts of a causal LM the objective needs.

Also the one place to import model functions from: fetching lives in ``model_fetch``, LoRA in
``adapters``. Nothing here runs code that came with a model or reads pickled weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from unisd_core.common.errors import UserError, reason, shorten
from unisd_core.models.acceleration.gated_mlp import recompute_gated_mlps
from unisd_core.models.acceleration.prefix_sharing import enable_prefix_sharing, forward_rows
from unisd_core.models.fetch import quiet_transformers, resolve_model
from unisd_core.models.lora import (
    adapter_checksum,
    adapter_state,
    add_lora,
    load_adapter_state,
    save_adapter,
    save_merged,
)

__all__ = [
    "adapter_checksum",
    "adapter_state",
    "add_lora",
    "backbone",
    "check_vocabulary",
    "hidden_states",
    "layer_states",
    "lm_head_weight",
    "load_adapter_state",
    "load_base",
    "load_tokenizer",
    "resolve_model",
    "save_adapter",
    "save_merged",
    "stop_token_ids",
]


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder; one without a padding token pads with its end token.

    Raises UserError when it cannot be loaded or has no chat template.
    """
    try:
        with quiet_transformers():
            # mistral-common, if it is installed, would be preferred wherever tekken.json is, and
            # has no chat templates.
            tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, mistral_format=False
            )
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder}: no tokenizer can be loaded ({reason(error)}); add tokenizer.json and "
            "tokenizer_config.json or choose another model"
        ) from error
    if not tokenizer.chat_template:
        raise UserError(
            f"{folder}: the tokenizer has no chat template; use an instruction-tuned model or add "
            "chat_template.jinja to the folder"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> None:
    """Raise UserError if the tokenizer can produce an id the model has no row for.

    The reverse, a model with spare rows, is common and fine.
    """
    token, largest = max(tokenizer.get_vocab().items(), key=lambda item: item[1])
    if largest >= config.vocab_size:
        raise UserError(
            f"tokenizer: {token!r} has id {largest}, but the model's vocabulary ends at "
            f"{config.vocab_size - 1}; use the tokenizer the model was trained with"
        )


def stop_token_ids(
    folder: Path, tokenizer: PreTrainedTokenizerBase, turn_end: int | None = None
) -> list[int]:
    """Sorted ids that end a completion: the tokenizer's end token, ``turn_end``, which is what the
    chat template writes after an answer, and every ``eos_token_id`` of generation_config.json and
    config.json.

    Raises UserError where a file cannot be read, and when there is no id, as every completion
    would run to the limit.
    """
    ids = {int(token) for token in (tokenizer.eos_token_id, turn_end) if token is not None}
    for name in ("generation_config.json", "config.json"):
        entry = _read_json(folder / name).get("eos_token_id")
        found = entry if isinstance(entry, list) else [] if entry is None else [entry]
        if not all(type(token) is int and token >= 0 for token in found):
            raise UserError(
                f"{folder / name}: eos_token_id must be a token id or a list of them, found "
                f"{shorten(str(entry))}; mend it"
            )
        ids.update(found)
    if not ids:
        raise UserError(f"{folder}: no end token; set eos_token_id in generation_config.json")
    return sorted(ids)


def _read_json(file: Path) -> dict[str, Any]:
    """The object in ``file``, empty where there is none. Raises UserError for anything else."""
    try:
        found = json.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{file}: cannot be read as JSON ({reason(error)}); fetch it again"
        ) from None
    if not isinstance(found, dict):
        raise UserError(f"{file}: must be a JSON object; fetch it again")
    return found


def load_base(
    folder: Path,
    dtype: str | torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> PreTrainedModel:
    """The frozen base model on ``device``, in evaluation mode, without gradients.

    ``dtype`` is ``"float32"``, ``"bfloat16"`` or the torch type. What stands in for the model's own
    computations is compared with them on ``device``, whose kernels decide. Raises UserError when
    the folder needs code of its own, lacks weights, or computes its logits as anything but
    ``hidden @ head.T`` (the objective applies the head itself).
    """
    if isinstance(dtype, str):
        dtype = getattr(torch, dtype)
    with quiet_transformers():
        try:
            model, info = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=dtype,
                attn_implementation="sdpa",
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
        except (OSError, ValueError) as error:
            raise UserError(
                f"{folder}: cannot be loaded as a causal LM: {reason(error)}"
            ) from error
    absent = sorted(info["missing_keys"])
    if absent:
        raise UserError(f"{folder}: the weights lack {absent[0]} ({len(absent)} such); fetch again")
    model.to(device).eval()
    model.requires_grad_(False)
    _check_head(model, folder)
    enable_prefix_sharing(model)
    recompute_gated_mlps(model)
    return model


def backbone(model: nn.Module) -> nn.Module:
    """The part of a causal LM, plain or with an adapter, that ends with the last norm."""
    return _causal_lm(model).base_model


def lm_head_weight(model: nn.Module) -> Tensor:
    """Weight (V, H) of the LM head; with tied embeddings the embedding matrix itself."""
    return _causal_lm(model).get_output_embeddings().weight


def hidden_states(model: nn.Module, ids_BT: Tensor) -> Tensor:
    """States (B, T, H) after the last norm; times ``lm_head_weight(model).T`` they are the logits.

    A row ends where ``prefix_tree.PADDING`` begins; what rows begin with alike is read once. States
    at padding are meaningless.
    """
    return forward_rows(backbone(model), ids_BT, every_layer=False)[-1]


def layer_states(
    model: nn.Module, ids_BT: Tensor, layers: Sequence[int], wanted_BT: Tensor | None = None
) -> tuple[Tensor, list[Tensor]]:
    """The states of ``hidden_states`` and those of ``layers``, each (B, T, H), in that order; or
    (M, H), row after row, those where ``wanted_BT`` is true, which is less work.

    Layer 0 is the embeddings, i the output of block i, and -1 the last states, after the norm.
    Raises UserError for a layer the model does not have.
    """
    states = forward_rows(backbone(model), ids_BT, bool(layers), wanted_BT)
    for layer in layers:
        if not -len(states) <= layer < len(states):
            raise UserError(
                f"objective.features.layers: {layer} is not a layer of the model; "
                f"use -{len(states)} to {len(states) - 1}"
            )
    return states[-1], [states[layer] for layer in layers]


def _causal_lm(model: nn.Module) -> PreTrainedModel:
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    if not isinstance(inner, PreTrainedModel) or inner.base_model is inner:
        raise TypeError(f"{type(inner).__name__} is not a causal LM with a backbone and a head")
    return inner


@torch.no_grad()
def _check_head(model: PreTrainedModel, folder: Path) -> None:
    ids_BT = torch.arange(4, device=model.device).unsqueeze(0)
    ours_BTV = (hidden_states(model, ids_BT) @ lm_head_weight(model).T).float()
    # A bias or a scale shows at once, a soft cap only where logits are as large as the cap. All
    # differ by far more than rounding, even in bfloat16.
    for factor in (1.0, 1000.0):
        with _head_times(model, factor):
            logits_BTV = model(input_ids=ids_BT, use_cache=False).logits.float() / factor
        if not torch.allclose(ours_BTV, logits_BTV, rtol=0.02, atol=0.05):
            raise UserError(
                f"{folder}: {type(model).__name__} caps, scales or shifts its logits after "
                "the LM head, which the objective does not model; choose another model"
            )


@contextmanager
def _head_times(model: PreTrainedModel, factor: float) -> Iterator[None]:
    """Within, the LM head puts out ``factor`` times what it computes."""
    hook = model.get_output_embeddings().register_forward_hook(lambda _, __, out: out * factor)
    try:
        yield
    finally:
        hook.remove()
