from __future__ import annotations

import random
from typing import Any

import pytest

from tests.support.tiny import make_tiny_tokenizer
from tests.support.toy_task import ToyTask, toy_row
from unisd_core.common.errors import UserError
from unisd_core.config.run import Config
from unisd_core.models.chat.chat import Chat
from unisd_core.views.builder import ViewBuilder, needs_teacher

TOKENIZER = make_tiny_tokenizer()
ROWS = [toy_row(f"u{n}", f"question {n}", f"gold-{n:02d}") for n in range(8)]


def configure(**sections: Any) -> Config:
    return Config.model_validate(sections)


def builder(config: Config, tokenizer: Any = TOKENIZER) -> ViewBuilder:
    return ViewBuilder(Chat(tokenizer, config.model), ToyTask(), config)


def text(ids: list[int]) -> str:
    return TOKENIZER.decode(ids)


def test_the_student_reads_one_user_turn_and_the_header_of_its_answer() -> None:
    assert text(builder(Config()).prompt(ROWS[0])) == (
        "<|im_start|>user\nquestion 0<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("hint", "follow_up"),
    [("", "Correct. Answer the same"), ("Two is even.", "Correct. Two is even. Answer the same")],
)
def test_chat_turn_shows_the_reference_as_an_earlier_answer(hint: str, follow_up: str) -> None:
    row = toy_row("u", "is 2 even?", "yes", hint)
    assert text(builder(configure(views={"reference_format": "chat_turn"})).teacher(row)) == (
        "<|im_start|>user\nis 2 even?<|im_end|>\n"
        "<|im_start|>assistant\nyes<|im_end|>\n"
        f"<|im_start|>user\n{follow_up} request again, in the same format.\n\n"
        "is 2 even?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(("hint", "reference"), [("", "yes"), ("Two is.", "yes\nTwo is.")])
def test_appended_shows_the_reference_between_question_and_request(
    hint: str, reference: str
) -> None:
    row = toy_row("u", "is {2} even?", "yes", hint)
    view = text(builder(configure(views={"reference_format": "appended"})).teacher(row))
    assert view.startswith("<|im_start|>user\nis {2} even?\n\nThis is an example response")
    assert f":\n{reference}\n\nStudy the example response" in view
    assert view.endswith("in your own way.<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.parametrize("reference_format", ["appended", "chat_turn"])
def test_the_negative_view_differs_from_the_teachers_only_in_the_reference(
    reference_format: str,
) -> None:
    views = builder(configure(views={"reference_format": reference_format}))
    row = toy_row("u", "question", "gold-0", "A hint.")
    wrong = ToyTask().wrong_reference(row, random.Random(1))
    assert wrong is not None
    negative = text(views.teacher(wrong))
    assert negative != text(views.teacher(row))
    assert negative.replace(wrong.reference, row.reference) == text(views.teacher(row))


def test_the_auxiliary_view_puts_the_context_before_the_students_prompt() -> None:
    view = text(builder(Config()).auxiliary(ROWS[0], "An example."))
    assert view.startswith("<|im_start|>user\nAn example.\n\n")
    assert view.endswith("\nquestion 0<|im_end|>\n<|im_start|>assistant\n")


def test_thinking_is_switched_off_where_the_template_knows_the_switch() -> None:
    tokenizer = make_tiny_tokenizer()
    tokenizer.chat_template += (
        "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
    )
    assert text(builder(Config(), tokenizer).prompt(ROWS[0])).endswith("<think></think>")


def test_a_model_without_chat_template_is_named() -> None:
    tokenizer = make_tiny_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(UserError, match=r"model\.name_or_path=.*no chat template"):
        builder(Config(), tokenizer)


@pytest.mark.parametrize("term", ["divergence", "contrastive", "features"])
def test_the_teacher_is_read_by_each_of_three_terms(term: str) -> None:
    weights = {name: {"weight": 0} for name in ("divergence", "contrastive", "features")}
    cross_entropy = {"cross_entropy": {"weight": 1}}
    assert not needs_teacher(configure(objective={**weights, **cross_entropy}))
    weights[term] = {"weight": 1}
    assert needs_teacher(configure(objective={**weights, **cross_entropy}))


def test_the_gold_completion_is_what_the_template_puts_after_the_prompt() -> None:
    end = TOKENIZER.eos_token_id
    views = builder(Config())
    ids = views.completion(ROWS[0], views.prompt(ROWS[0]))
    whole: Any = TOKENIZER.apply_chat_template(
        [{"role": "user", "content": "question 0"}, {"role": "assistant", "content": "gold-00"}],
        return_dict=False,
    )
    assert ids[-1] == end
    assert text(ids[:-1]) == "gold-00"
    # After the end of the turn the template only breaks the line.
    assert whole[: len(whole) - 1] == views.prompt(ROWS[0]) + ids


def test_the_gold_completion_is_tokenised_alone_where_the_template_rewrites_the_turn() -> None:
    tokenizer = make_tiny_tokenizer()
    tokenizer.chat_template += "{% if add_generation_prompt %}{{ 'Well: ' }}{% endif %}"
    end = tokenizer.eos_token_id
    made = builder(Config(), tokenizer)
    ids = made.completion(ROWS[0], made.prompt(ROWS[0]))
    assert (text(ids[:-1]), ids[-1]) == ("gold-00", end)


def test_the_question_may_be_left_out_after_the_reference() -> None:
    config = configure(views={"reference_format": "chat_turn", "repeat_prompt": False})
    seen = text(builder(config).teacher(toy_row("u", "What?", "this", "because")))
    assert seen.count("What?") == 1
    assert "Correct. because Answer the same request again" in seen


@pytest.mark.parametrize("reference_format", ["chat_turn", "appended"])
def test_an_explanation_that_is_part_of_the_answer_is_not_told_twice(reference_format: str) -> None:
    config = configure(views={"reference_format": reference_format})
    row = toy_row("u", "What?", "Reasoning: because\nAnswer: A", "because")
    assert text(builder(config).teacher(row)).count("because") == 1
