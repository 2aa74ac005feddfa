"""Chat formats of eight families, written anew from their documents; byte-level tokenizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class ChatFormat:
    """A template with its tokens. ``added`` are tokens that the tokenizer does not call special."""

    template: str
    special: tuple[str, ...]
    eos: str
    turn_end: str
    header: str
    """What stands before an answer."""
    bos: str | None = None
    added: tuple[str, ...] = ()


def chat_tokenizer(family: str, template: str | None = None) -> PreTrainedTokenizerFast:
    """One id per byte after the tokens of ``family``, with its chat template or another one."""
    kind = CHAT_FORMATS[family]
    return byte_tokenizer(template or kind.template, kind.special, kind.eos, kind.bos, kind.added)


def byte_tokenizer(
    template: str,
    special: Sequence[str],
    eos: str,
    bos: str | None = None,
    added: Sequence[str] = (),
) -> PreTrainedTokenizerFast:
    """One id per byte after ``special`` and ``added`` tokens."""
    names = [*special, *added, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    backend = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(name, normalized=False) for name in special])
    backend.add_tokens([AddedToken(name, normalized=False) for name in added])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=bos, eos_token=eos)
    tokenizer.chat_template = template
    return tokenizer


_CHATML = (
    "{%- for m in messages %}"
    "{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)

_QWEN3 = """
{%- set last = namespace(query=0) %}
{%- for m in messages %}
  {%- if m.role == 'user' %}{% set last.query = loop.index0 %}{% endif %}
{%- endfor %}
{%- for m in messages %}
  {%- set content = m.content %}
  {%- if m.role == 'assistant' %}
    {%- set thought = '' %}
    {%- if '</think>' in content %}
      {%- set thought = content.split('</think>')[0].split('<think>')[-1].strip('\n') %}
      {%- set content = content.split('</think>')[-1].lstrip('\n') %}
    {%- endif %}
    {%- if loop.index0 > last.query %}
      {%- set content = '<think>\n' + thought + '\n</think>\n\n' + content %}
    {%- endif %}
  {%- endif %}
  {{- '<|im_start|>' + m.role + '\n' + content + '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
  {{- '<|im_start|>assistant\n' }}
  {%- if enable_thinking is defined and enable_thinking is false %}
    {{- '<think>\n\n</think>\n\n' }}
  {%- endif %}
{%- endif %}"""

_LLAMA = """
{%- if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}
{{- bos_token }}
{{- '<|start_header_id|>system<|end_header_id|>\n\n' }}
{{- 'Cutting Knowledge Date: December 2023\nToday Date: ' + date_string + '\n\n<|eot_id|>' }}
{%- for m in messages %}
  {{- '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
  {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}"""

_GEMMA = """
{{- bos_token }}
{%- for m in messages %}
  {%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}
    {{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
  {%- endif %}
  {{- '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' }}
  {%- if m.content is string %}{{- m.content | trim }}
  {%- else %}{% for part in m.content %}{{- part.text | trim }}{% endfor %}{% endif %}
  {{- '<end_of_turn>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<start_of_turn>model\n' }}{% endif %}"""

_MISTRAL = """
{{- bos_token }}
{%- for m in messages %}
  {%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}
    {{- raise_exception('After the optional system message, roles must alternate') }}
  {%- endif %}
  {%- if m.role == 'user' %}{{- '[INST] ' + m.content + '[/INST]' }}
  {%- else %}{{- ' ' + m.content + eos_token }}{% endif %}
{%- endfor %}"""

_PHI = """
{%- for m in messages %}{{- '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>\n' }}{% else %}{{- eos_token }}{% endif %}"""

_R1 = """
{{- bos_token }}
{%- for m in messages %}
  {%- if m.role == 'user' %}{{- '<｜User｜>' + m.content }}
  {%- else %}
    {{- '<｜Assistant｜>' + m.content.split('</think>')[-1] + '<｜end▁of▁sentence｜>' }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<｜Assistant｜><think>\n' }}{% endif %}"""

_IM = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_HEADER = "<|im_start|>assistant\n"

CHAT_FORMATS: Mapping[str, ChatFormat] = {
    "smollm2": ChatFormat(
        "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nYou are a helpful "
        "AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}" + _CHATML,
        _IM, "<|im_end|>", "<|im_end|>", _HEADER, bos="<|im_start|>",
    ),
    "qwen2.5": ChatFormat(
        "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nYou are Qwen, created by "
        "Alibaba Cloud. You are a helpful assistant.<|im_end|>\n' }}{% endif %}" + _CHATML,
        _IM, "<|im_end|>", "<|im_end|>", _HEADER, added=("<tool_call>", "</tool_call>"),
    ),
    "qwen3": ChatFormat(
        _QWEN3, _IM, "<|im_end|>", "<|im_end|>", _HEADER + "<think>\n\n</think>\n\n",
        added=("<tool_call>", "</tool_call>", "<think>", "</think>"),
    ),
    "llama3.2": ChatFormat(
        _LLAMA,
        ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
         "<|eom_id|>", "<|eot_id|>", "<|python_tag|>"),
        "<|eot_id|>", "<|eot_id|>", "<|start_header_id|>assistant<|end_header_id|>\n\n",
        bos="<|begin_of_text|>",
    ),
    "gemma3": ChatFormat(
        _GEMMA, ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"),
        "<eos>", "<end_of_turn>", "<start_of_turn>model\n", bos="<bos>", added=("\n\n", "  "),
    ),
    "mistral": ChatFormat(
        _MISTRAL, ("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]"),
        "</s>", "</s>", "[/INST]", bos="<s>",
    ),
    "phi3": ChatFormat(
        _PHI, ("<|endoftext|>", "<|assistant|>", "<|end|>", "<|user|>", "<|system|>"),
        "<|endoftext|>", "<|end|>", "<|assistant|>\n",
    ),
    "deepseek-r1": ChatFormat(
        _R1, ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
        "<｜end▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜Assistant｜><think>\n",
        bos="<｜begin▁of▁sentence｜>",
        added=("<｜User｜>", "<｜Assistant｜>", "<think>", "</think>"),
    ),
}  # fmt: skip
