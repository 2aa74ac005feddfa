"""Tiny random models of each supported architecture: configurations, tokens and chat templates.

What the families differ in is kept: biases, tied or separate heads, kinds of rope, embedding
scale, sliding windows, who pads, what ends a turn, and how a template treats roles and spaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

SPARE = tuple(f"<|reserved_{i}|>" for i in range(5))


@dataclass(frozen=True)
class Family:
    """One architecture. ``settings`` are fields of its configuration; ids of special tokens
    follow their order in ``special``."""

    config: type[PreTrainedConfig]
    model: type[PreTrainedModel]
    special: tuple[str, ...]
    template: str
    bos: str | None
    eos: str
    pad: str | None
    unk: str | None
    stops: tuple[str, ...]
    """Tokens under eos_token_id in generation_config.json."""
    end_of_turn: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    noise: float = 0.1
    """Deviation of what is added to biases and norm gains, which start as constants: a forgotten
    bias or offset must show."""


_CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

_QWEN = (
    "{% if messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}"
    "{% endif %}"
) + _CHATML

_LLAMA3 = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    " + message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
    "{% endif %}"
)

_GEMMA = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)

FAMILIES: Mapping[str, Family] = {
    "smollm2": Family(
        LlamaConfig,
        LlamaForCausalLM,
        special=("<|endoftext|>", "<|im_start|>", "<|im_end|>", *SPARE),
        template=_CHATML,
        bos="<|im_start|>",
        eos="<|im_end|>",
        pad="<|im_end|>",
        unk="<|endoftext|>",
        stops=("<|im_end|>", "<|endoftext|>"),
        end_of_turn="<|im_end|>",
        noise=0.0,
    ),
    "qwen2": Family(
        Qwen2Config,
        Qwen2ForCausalLM,
        special=("<|endoftext|>", "<|im_start|>", "<|im_end|>", *SPARE),
        template=_QWEN,
        bos=None,
        eos="<|im_end|>",
        pad="<|endoftext|>",
        unk=None,
        stops=("<|im_end|>", "<|endoftext|>"),
        end_of_turn="<|im_end|>",
        settings={
            # vLLM takes hidden size over heads as the size of a head here, whatever is written.
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
        },
    ),
    "llama3": Family(
        LlamaConfig,
        LlamaForCausalLM,
        special=(
            "<|begin_of_text|>",
            "<|end_of_text|>",
            "<|eom_id|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eot_id|>",
            *SPARE,
        ),  # fmt: skip
        template=_LLAMA3,
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
        pad=None,
        unk=None,
        stops=("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"),
        end_of_turn="<|eot_id|>",
        settings={
            "tie_word_embeddings": False,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 5e5,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 256,
            },
        },
    ),
    "gemma3": Family(
        Gemma3TextConfig,
        Gemma3ForCausalLM,
        special=(
            "<pad>",
            "<eos>",
            "<bos>",
            "<unk>",
            "<start_of_turn>",
            "<end_of_turn>",
            *SPARE,
        ),  # fmt: skip
        template=_GEMMA,
        bos="<bos>",
        eos="<eos>",
        pad="<pad>",
        unk="<unk>",
        stops=("<eos>", "<end_of_turn>"),
        end_of_turn="<end_of_turn>",
        settings={
            "head_dim": 64,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "query_pre_attn_scalar": 64,
            "layer_types": ["sliding_attention", "full_attention"],
            # Shorter than the prompts of the tests, so that it cuts something off.
            "sliding_window": 64,
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
                "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
            },
        },
    ),
}
