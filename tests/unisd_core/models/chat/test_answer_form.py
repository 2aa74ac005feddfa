"""Answers and thoughts of families that write them in a form of their own."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from tests.support.chat_templates import byte_tokenizer
from unisd_core.common.errors import UserError
from unisd_core.common.thoughts import after_thought
from unisd_core.config.run import ModelConfig
from unisd_core.models.chat.chat import Chat
from unisd_core.models.chat.template import assistant_turn, user_turn

QUESTION, ANSWER = "What is 2 + 2?", "It is\n\n4."
REFERENCE = f"<think>\nTwo and two.\n</think>\n\n{ANSWER}"


@dataclass(frozen=True)
class Family:
    """A template, its tokens, and how it writes an answer with and without a thought."""

    template: str
    special: tuple[str, ...]
    turn_end: str
    plain: str
    thoughtful: str
    eos: str = ""
    added: tuple[str, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()

    def tokenizer(self) -> PreTrainedTokenizerFast:
        eos = self.eos or self.turn_end
        return byte_tokenizer(self.template, self.special, eos, added=self.added)

    def chat(self) -> Chat:
        kwargs = {"chat_template_kwargs": dict(self.options)}
        return Chat(self.tokenizer(), ModelConfig.model_validate(kwargs))


_LOOP = "{%% for m in messages %%}%s{%% endfor %%}"
_TURN = "{{ '<|im_start|>' + m.role + '\n' }}%s{{ '<|im_end|>\n' }}"
_OPEN = "{%% if add_generation_prompt %%}{{ '%s' }}{%% endif %%}"
_IM = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def chatml(content: str, opening: str = "") -> str:
    return _LOOP % (_TURN % content) + _OPEN % (r"<|im_start|>assistant\n" + opening)


FAMILIES = {
    "channels": Family(
        _LOOP % (
            "{% if m.role == 'user' %}{{ '<|start|>user<|message|>' + m.content + '<|end|>' }}"
            "{% else %}{% set last = loop.last and not add_generation_prompt %}"
            "{% if last and m.thinking %}{{ '<|start|>assistant<|channel|>analysis<|message|>' + "
            "m.thinking + '<|end|>' }}{% endif %}"
            "{{ '<|start|>assistant<|channel|>final<|message|>' + m.content }}"
            "{{ '<|return|>' if last else '<|end|>' }}{% endif %}"
        ) + _OPEN % "<|start|>assistant",
        ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>"), "<|return|>",
        f"<|channel|>final<|message|>{ANSWER}<|return|>",
        "<|channel|>analysis<|message|>Two and two.<|end|><|start|>assistant<|channel|>final"
        f"<|message|>{ANSWER}<|return|>",
    ),
    "thoughts that no finished answer has": Family(
        _LOOP % "{{ '<|turn>' + m.role + '\n' + m.content + '<turn|>\n' }}"
        + "{% if enable_thinking %}{% endif %}" + _OPEN % r"<|turn>assistant\n",
        ("<|turn>", "<turn|>", "<|channel>", "<channel|>"), "<turn|>",
        f"{ANSWER}<turn|>", f"<|channel>thought\nTwo and two.\n<channel|>{ANSWER}<turn|>",
        options=(("enable_thinking", True),),
    ),
    "an answer opened at every end": Family(
        _LOOP % (
            "<|START|>{% if m.role == 'user' %}<|USER|>{{ m.content }}{% else %}"
            "<|BOT|><|START_RESPONSE|>{{ m.content }}<|END_RESPONSE|>{% endif %}<|END|>"
        ) + "<|START|><|BOT|>",
        ("<|START|>", "<|END|>", "<|USER|>", "<|BOT|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>",
         "<|START_THINKING|>", "<|END_THINKING|>"), "<|END|>",
        f"<|START_RESPONSE|>{ANSWER}<|END_RESPONSE|><|END|>",
        f"<|START_THINKING|>Two and two.<|END_THINKING|><|START_RESPONSE|>{ANSWER}"
        "<|END_RESPONSE|><|END|>",
    ),
    "a key beside the content": Family(
        chatml(
            "{% if m.role == 'assistant' %}<think>{{ m.reasoning_content }}</think>{% endif %}"
            "{{ m.content }}"
        ),
        _IM, "<|im_end|>", f"<think></think>{ANSWER}<|im_end|>",
        f"<think>Two and two.</think>{ANSWER}<|im_end|>", added=("<think>", "</think>"),
    ),
    "a part of the content": Family(
        chatml(
            "{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}"
            "{% if p.type == 'thinking' %}[THINK]{{ p.thinking }}[/THINK]{% else %}{{ p.text }}"
            "{% endif %}{% endfor %}{% endif %}"
        ),
        (*_IM, "[THINK]", "[/THINK]"), "<|im_end|>", f"{ANSWER}<|im_end|>",
        f"[THINK]Two and two.[/THINK]{ANSWER}<|im_end|>",
    ),
    "lists written as they are": Family(
        chatml("{{ m.content if m.content is string else m.content | tojson }}"), _IM,
        "<|im_end|>", f"{ANSWER}<|im_end|>", f"{REFERENCE}<|im_end|>",
    ),
    "tags with the family's name": Family(
        chatml(
            "{% if m.reasoning_content %}<seed:think>{{ m.reasoning_content }}</seed:think>"
            "{% endif %}{{ m.content }}"
        ),
        _IM, "<|im_end|>", f"{ANSWER}<|im_end|>",
        f"<seed:think>Two and two.</seed:think>{ANSWER}<|im_end|>",
        added=("<seed:think>", "</seed:think>"),
    ),
    "tokens that end parts of an answer": Family(
        _LOOP % (
            "<|open|>{{ m.role }}<|sep|>{% if m.role == 'user' %}{{ m.content }}{% else %}"
            "{% if m.reasoning %}<|open|>think<|sep|>{{ m.reasoning }}<|close|>think<|sep|>"
            "{% endif %}<|open|>response<|sep|>{{ m.content }}<|close|>response<|sep|>{% endif %}"
            "<|end_of_msg|>"
        ) + _OPEN % "<|open|>assistant<|sep|>",
        ("<|endoftext|>", "<|open|>", "<|sep|>", "<|close|>", "<|end_of_msg|>"), "<|end_of_msg|>",
        f"<|open|>response<|sep|>{ANSWER}<|close|>response<|sep|><|end_of_msg|>",
        "<|open|>think<|sep|>Two and two.<|close|>think<|sep|><|open|>response<|sep|>"
        f"{ANSWER}<|close|>response<|sep|><|end_of_msg|>", eos="<|endoftext|>",
    ),
    "words that lead to an answer": Family(
        chatml(
            r"{% if m.role == 'assistant' %}{{ '>>>all\n' }}{% endif %}{{ m.content }}", ">>>"
        ),
        _IM, "<|im_end|>", f"all\n{ANSWER}<|im_end|>", f"all\n{REFERENCE}<|im_end|>",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_references_are_what_the_model_would_write_and_are_read_as_they_were(name: str) -> None:
    family = FAMILIES[name]
    chat, tokenizer = family.chat(), family.tokenizer()
    prompt = chat.prompt([user_turn(QUESTION)])
    assert chat.turn_end == tokenizer.convert_tokens_to_ids(family.turn_end)
    for reference, written in ((ANSWER, family.plain), (REFERENCE, family.thoughtful)):
        ids = chat.completion(QUESTION, prompt, reference)
        assert tokenizer.decode(ids) == written
        assert ids[-1] == chat.turn_end
        shown = chat.text(ids)
        assert after_thought(shown).strip() == ANSWER
        assert ("Two and two." in shown) == (reference == REFERENCE)
        assert chat.answer(shown, ended=True) == ids


@pytest.mark.parametrize("name", FAMILIES)
def test_a_completion_cut_off_in_its_thought_has_no_answer(name: str) -> None:
    family = FAMILIES[name]
    chat, tokenizer = family.chat(), family.tokenizer()
    written = family.thoughtful.partition("and two.")[0]
    ids = tokenizer(written, add_special_tokens=False)["input_ids"]
    shown = chat.text(ids)
    assert after_thought(shown).strip() == ("" if "Two " in shown else None)
    assert chat.answer(shown, ended=False) == ids


@pytest.mark.parametrize("name", FAMILIES)
def test_control_tokens_in_references_are_plain_text(name: str) -> None:
    family = FAMILIES[name]
    chat, tokenizer = family.chat(), family.tokenizer()
    prompt = chat.prompt([user_turn(QUESTION)])
    control = set(tokenizer.convert_tokens_to_ids(list(family.special)))
    evil = f"4{''.join(token for token in family.special if 'THINK]' not in token)}."
    harmless = chat.completion(QUESTION, prompt, REFERENCE)
    ids = chat.completion(QUESTION, prompt, REFERENCE.replace(ANSWER, evil))
    assert evil in tokenizer.decode(ids)
    assert [one for one in ids if one in control] == [one for one in harmless if one in control]


def test_an_earlier_answer_is_shown_and_its_thought_is_not_lost_unnoticed() -> None:
    family = FAMILIES["channels"]
    chat, tokenizer = family.chat(), family.tokenizer()
    turns = [user_turn(QUESTION), assistant_turn(ANSWER), user_turn("Again.")]
    text = tokenizer.decode(chat.prompt(turns))
    assert f"<|channel|>final<|message|>{ANSWER}<|end|><|start|>user" in text
    turns[1] = assistant_turn(REFERENCE)
    with pytest.raises(UserError, match=r"leaves out the thought.*appended"):
        chat.prompt(turns)


def test_a_finished_answer_that_opens_the_thought_twice_is_not_copied() -> None:
    source = chatml("{{ '<think>\n' if m.role == 'assistant' }}{{ m.content }}", r"<think>\n")
    tokenizer = byte_tokenizer(source, _IM, "<|im_end|>", added=("<think>", "</think>"))
    chat = Chat(tokenizer, ModelConfig())
    prompt = chat.prompt([user_turn(QUESTION)])
    ids = chat.completion(QUESTION, prompt, REFERENCE)
    assert tokenizer.decode(ids) == f"Two and two.\n</think>\n\n{ANSWER}<|im_end|>"
    ids = chat.completion(QUESTION, prompt, ANSWER)
    assert tokenizer.decode(ids) == f"\n</think>\n\n{ANSWER}<|im_end|>"


def test_a_thought_that_ends_as_answers_do_is_refused_unless_it_is_switched_off() -> None:
    source = _LOOP % (
        "{{ '<|begin|>' + m.role }}{% if m.reasoning %}{{ '<|think|>' + m.reasoning + '<|end|>"
        "<|begin|>assistant' }}{% endif %}{{ '<|content|>' + m.content + '<|end|>' }}"
    ) + (
        "{% if add_generation_prompt %}{{ '<|begin|>assistant' }}{% if effort == 'low' %}"
        "{{ '<|think|><|end|><|begin|>assistant' }}{% endif %}{% endif %}"
    )
    special = ("<|begin|>", "<|think|>", "<|content|>", "<|end|>")
    tokenizer = byte_tokenizer(source, special, "<|end|>")
    with pytest.raises(UserError, match=r"ends a thought with the token that ends an answer"):
        Chat(tokenizer, ModelConfig())
    chat = Chat(tokenizer, ModelConfig(chat_template_kwargs={"effort": "low"}))
    ids = chat.completion(QUESTION, chat.prompt([user_turn(QUESTION)]), ANSWER)
    assert tokenizer.decode(ids) == f"<|content|>{ANSWER}<|end|>"
    with pytest.raises(UserError, match="begins with a thought"):
        chat.check_reference(REFERENCE)


@pytest.mark.parametrize("bos", [None, "<|im_start|>"])
def test_an_end_that_the_template_does_not_write_is_trained_with_a_warning(
    bos: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    turn = (
        "{% if m.role == 'user' %}{{ bos_token }}{{ '\nUser: ' + m.content + '\nBot: ' }}"
        "{% else %}{{ m.content }}{% endif %}"
    )
    tokenizer = byte_tokenizer(_LOOP % turn, _IM, "<|endoftext|>", bos)
    chat = Chat(tokenizer, ModelConfig())
    prompt = chat.prompt([user_turn(QUESTION)])
    with caplog.at_level(logging.WARNING):
        ids = [chat.completion(QUESTION, prompt, ANSWER) for _ in range(2)]
    assert ids[0][-1] == chat.turn_end == tokenizer.eos_token_id
    [record] = caplog.records
    assert "no token after an answer; references end with <|endoftext|>" in record.getMessage()


def test_the_end_of_a_turn_is_not_shown_though_the_tokenizer_does_not_call_it_special() -> None:
    source = chatml("{{ m.content }}")
    tokenizer = byte_tokenizer(source, _IM[:1], "<|endoftext|>", added=_IM[1:])
    chat = Chat(tokenizer, ModelConfig())
    ids = chat.completion(QUESTION, chat.prompt([user_turn(QUESTION)]), ANSWER)
    assert ids[-1] == tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert chat.text(ids) == ANSWER


@pytest.mark.parametrize(
    "source",
    [
        chatml("{{ m.content }}") + "{# enable_thinking #}",
        chatml("{% set thinking = false %}{{ m.thinking }}{{ m.content }}"),
        "{{ 'When thinking is asked for:' }}" + chatml("{{ m.content }}"),
        chatml("{% generation %}{{ m.content }}{% endgeneration %}") + "{# thinking #}",
    ],
)
def test_a_word_that_a_template_only_mentions_is_no_option(source: str) -> None:
    tokenizer = byte_tokenizer(source, _IM, "<|im_end|>")
    chat = Chat(tokenizer, ModelConfig())
    assert not chat.options
    chat.check_reference(REFERENCE)
    chat.check_reference(ANSWER)
    with pytest.raises(UserError, match="no such option"):
        Chat(tokenizer, ModelConfig(chat_template_kwargs={"thinking": True}))


def test_one_switch_of_thoughts_is_not_overruled_by_another() -> None:
    source = chatml("{{ m.content }}") + (
        "{% if thinking is not defined %}{% set thinking = enable_thinking %}{% endif %}"
        "{% if add_generation_prompt %}{{ '<think>' if thinking else '</think>' }}{% endif %}"
    )
    tokenizer = byte_tokenizer(source, _IM, "<|im_end|>", added=("<think>", "</think>"))
    off = Chat(tokenizer, ModelConfig())
    assert tokenizer.decode(off.prompt([user_turn(QUESTION)])).endswith("</think>")
    for name in ("thinking", "enable_thinking"):
        on = Chat(tokenizer, ModelConfig(chat_template_kwargs={name: True}))
        assert tokenizer.decode(on.prompt([user_turn(QUESTION)])).endswith("<think>")
        on.check_reference(REFERENCE)


def test_a_template_that_writes_a_list_of_types_still_takes_text() -> None:
    source = """{{ '{"type": "object"} or {\\'type\\': 1}' }}""" + chatml("{{ m.content }}")
    tokenizer = byte_tokenizer(source, _IM, "<|im_end|>")
    prompt = Chat(tokenizer, ModelConfig()).prompt([user_turn(QUESTION)])
    assert f"user\n{QUESTION}<|im_end|>" in tokenizer.decode(prompt)


def test_what_a_template_needs_and_is_not_given_is_named() -> None:
    tokenizer = byte_tokenizer(chatml("{{ m.content + functions }}"), _IM, "<|im_end|>")
    with pytest.raises(UserError, match=r"'functions' is undefined.*model\.chat_template_kwargs"):
        Chat(tokenizer, ModelConfig())
    Chat(tokenizer, ModelConfig(chat_template_kwargs={"functions": ""}))
