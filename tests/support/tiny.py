"""Random models of 0.1 M parameters with a byte-level tokenizer: tests without a download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, PreTrainedTokenizerFast

from tests.support.families import FAMILIES, SPARE
from unisd_core.models.fetch import quiet_transformers


def make_tiny_tokenizer(family: str = "smollm2") -> PreTrainedTokenizerFast:
    """One id per byte after the special tokens of ``family``, with its chat template."""
    kind = FAMILIES[family]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*kind.special, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(kind.special))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=kind.bos,
        eos_token=kind.eos,
        pad_token=kind.pad,
        unk_token=kind.unk,
        additional_special_tokens=list(SPARE),
        model_max_length=2048,
    )
    fast.chat_template = kind.template
    return fast


def make_tiny_model(
    folder: Path | str, seed: int = 0, *, family: str = "smollm2", **overrides: Any
) -> Path:
    """Save model and tokenizer of ``family`` (see families.py) to ``folder``; return it.

    ``overrides`` are fields of the model's configuration. head_dim is at least 32, the smallest
    vLLM's CPU attention takes; the wide initialisation keeps the next-token distributions away
    from uniform.
    """
    folder = Path(folder)
    kind = FAMILIES[family]
    tokenizer = make_tiny_tokenizer(family)
    stops = tokenizer.convert_tokens_to_ids(list(kind.stops))
    settings: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
        "initializer_range": 0.2,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "dtype": "float32",
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind.model(kind.config(**{**settings, **kind.settings, **overrides}))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter.add_(torch.randn_like(parameter) * kind.noise)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=stops,
        pad_token_id=tokenizer.pad_token_id,
    )
    with quiet_transformers():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
