"""Templates that lose text, refuse it or open no answer; texts that a tokenizer cannot keep."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from tests.support.chat_templates import CHAT_FORMATS, chat_tokenizer
from unisd_core.common.errors import UserError
from unisd_core.config.run import ModelConfig
from unisd_core.models.chat.chat import Chat
from unisd_core.models.chat.template import user_turn

OPEN = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
TURN = "<|im_start|>{{ m.role }}\n%s<|im_end|>\n"
LOOP = "{% for m in messages %}%s{% endfor %}"
CHATML = chat_tokenizer("qwen2.5").chat_template


def template(content: str, opening: str = OPEN) -> str:
    return LOOP.replace("%s", TURN.replace("%s", content)) + opening


def chat(source: Any, **settings: Any) -> Chat:
    tokenizer = chat_tokenizer("smollm2")
    tokenizer.chat_template = source
    return Chat(tokenizer, ModelConfig.model_validate(settings))


def read(ids: list[int]) -> str:
    return str(chat_tokenizer("smollm2").decode(ids))


@pytest.mark.parametrize(
    "content",
    [
        "{% for part in m['content'] %}{{ part['text'] }}{% endfor %}",
        "{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% endif %}{% endfor %}",
        "{{ raise_exception('parts only') if m.content is string else m.content[0].text }}",
        "{{ m.content[0]['text'] }}",
    ],
)
def test_text_is_offered_as_parts_to_a_template_that_wants_parts(content: str) -> None:
    prompt = chat(template(content)).prompt([user_turn("Hi there.")])
    assert read(prompt) == "<|im_start|>user\nHi there.<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (template("{{ m.text }}"), "leaves out the text of the user's turn"),
        (template("{{ m.content[:5] }}"), "leaves out the text of the user's turn"),
        (template("{{ m.content | upper }}"), "leaves out the text of the user's turn"),
        (template("{{ m.content if m.role == 'user' }}"), "the text of the assistant's turn"),
        (template("{{ messages[0].content }}"), "the text of the assistant's turn"),
        (template("{{ raise_exception('system first') }}"), r"refuses .*\(system first\)"),
        (template("{{ m.content + 1 }}"), "refuses the conversation"),
        (template("{{ m.content | no_such_filter }}"), "refuses the conversation"),
        (template("{{ m.content.a.b }}"), "refuses the conversation"),
        (template("{% if %}"), "refuses the conversation"),
        (template("{{ m.content }}", ""), "opens no answer"),
        (
            template("{{ m.content }}", "{% if add_generation_prompt %}{% endif %}"),
            "opens no answer",
        ),
        ({"tool_use": CHATML, "rag": CHATML}, "none is the default"),
        (None, "no chat template"),
        ("", "no chat template"),
    ],
)
def test_a_template_that_cannot_be_used_is_one_line(source: Any, problem: str) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        chat(source)
    assert "\n" not in str(caught.value)


def test_of_several_templates_the_default_is_used() -> None:
    prompt = chat({"default": CHATML, "rag": "{{ 1 / 0 }}"}).prompt([user_turn("Hi.")])
    assert read(prompt).endswith("Hi.<|im_end|>\n<|im_start|>assistant\n")


def test_an_answer_that_only_a_next_turn_closes_ends_with_that_token() -> None:
    source = template("{{ m.content }}").replace(
        "<|im_end|>\n", "{% if not loop.last or m.role == 'user' %}<|endoftext|>{% endif %}"
    )
    made = chat(source)
    end = chat_tokenizer("smollm2").convert_tokens_to_ids("<|endoftext|>")
    prompt = made.prompt([user_turn("Hi.")])
    assert made.turn_end == end
    assert made.completion("Hi.", prompt, "Yo.")[-1] == end


def test_a_reference_that_is_read_as_its_text_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    made = chat(template("{{ m.content }}", OPEN.replace("\n", "\nWell: ")))
    prompt = made.prompt([user_turn("Hi.")])
    with caplog.at_level(logging.WARNING):
        ids = [made.completion("Hi.", prompt, "Yo.") for _ in range(2)]
    assert [read(one) for one in ids] == ["Yo.<|im_end|>"] * 2
    assert [record.getMessage().count("another way") for record in caplog.records] == [1]


def test_options_reach_the_template() -> None:
    source = template("{{ m.content }}", "{% if add_generation_prompt %}[{{ effort }}]{% endif %}")
    made = chat(source, chat_template_kwargs={"effort": "low"})
    assert read(made.prompt([user_turn("Hi.")])).endswith("[low]")


def test_the_digest_changes_with_template_options_and_date() -> None:
    source = template("{{ m.content }}{{ effort }}")
    made = [
        chat(source),
        chat(source, chat_template_kwargs={"effort": "low"}),
        chat(source, chat_template_date="2024-07-26"),
        chat(source + " "),
    ]
    assert len({one.digest for one in made}) == 4
    assert chat(source).digest == made[0].digest


def test_characters_that_the_tokenizer_cannot_write_are_named() -> None:
    words = {"[UNK]": 0, "<|im_start|>": 1, "<|im_end|>": 2, "user": 3, "assistant": 4}
    for probe in ("Where is it ?", "Over there .", "And now ?"):
        for word in probe.split():
            words.setdefault(word, len(words))
    backend = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[UNK]", eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
    )  # fmt: skip
    tokenizer.chat_template = CHATML[CHATML.index("{%- for") :]
    made = Chat(tokenizer, ModelConfig())
    made.prompt([user_turn("And there ?")])
    with pytest.raises(UserError, match="first character lost is 'ж'"):
        made.prompt([user_turn("And ж ?")])


def test_a_tokenizer_that_cannot_read_control_tokens_as_text_refuses_only_rows_that_hold_some() -> (
    None
):
    tokenizer = ByT5Tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m.content + '</s>' }}{% endfor %}" + (
        "{% if add_generation_prompt %}A: {% endif %}"
    )
    made = Chat(tokenizer, ModelConfig())
    made.prompt([user_turn("Hi.")])
    with pytest.raises(UserError, match="holds </s>, which the tokenizer cannot read as plain"):
        made.prompt([user_turn("Hi </s>.")])


@given(
    st.lists(
        st.one_of(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
            st.sampled_from(sorted(CHAT_FORMATS["llama3.2"].special)),
        )
    ).map("".join)
)
def test_any_text_is_read_back_as_it_was_written(text: str) -> None:
    tokenizer = chat_tokenizer("llama3.2")
    tokenizer.chat_template = tokenizer.chat_template.replace(" | trim", "")
    made = Chat(tokenizer, ModelConfig())
    header = "<|start_header_id|>user<|end_header_id|>\n\n"
    said = str(tokenizer.decode(made.prompt([user_turn(text)]))).partition(header)[2]
    assert said.startswith(text + "<|eot_id|>")
    ids = made.answer(text, ended=False)
    assert not set(ids) & set(
        tokenizer.convert_tokens_to_ids(list(CHAT_FORMATS["llama3.2"].special))
    )
