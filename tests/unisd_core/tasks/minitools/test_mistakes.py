from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unisd_core.tasks.minitools.catalogue import UNSEEN
from unisd_core.tasks.minitools.mistakes import MISTAKES
from unisd_core.tasks.registry import load_task
from unisd_core.tasks.row import NegativeRequest

TASK = load_task("minitools", None, 0)
ROW = next(row for row in TASK.rows("train") if len(row.details["calls"]) == 1)
HELD_OUT = sorted(UNSEEN)[0]


def ask(number: int = 0) -> NegativeRequest:
    request = TASK.negative_request(ROW, random.Random(0), number)
    assert request is not None
    return request


def test_the_kinds_go_round_robin_and_state_the_mistake() -> None:
    requests = [ask(number) for number in range(8)]
    kinds = [request.kind.split("/")[1] for request in requests]
    assert kinds == [*MISTAKES, *MISTAKES]
    for request, kind in zip(requests, kinds, strict=True):
        assert request.prompt.startswith(ROW.prompt)
        assert ROW.reference in request.prompt
        assert MISTAKES[kind] in request.prompt


@pytest.mark.parametrize(
    "text",
    [
        'Action: other\nAction Input: {"x": 1}',
        'Sure!\nAction: other\n  Action Input:  {"x":1}\nI hope this helps.',
    ],
)
def test_what_is_read_fills_the_template_of_the_reference(text: str) -> None:
    wrong = ask().read(text)
    assert wrong is not None
    assert wrong.reference == 'Action: other\nAction Input: {"x": 1}'
    assert wrong.hint == "The request needs other with x 1."
    assert (wrong.uid, wrong.prompt, wrong.details) == (ROW.uid, ROW.prompt, ROW.details)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot do that.",
        ROW.reference,
        f"Here: \n{ROW.reference}",
        "\n".join([ROW.reference] * 3),
        'Action: two words\nAction Input: {"x": 1}',
        f'Action: {HELD_OUT}\nAction Input: {{"x": 1}}',
        'Action: other\nAction Input: {"x": 1e999}',
        'Action: other\nAction Input: {"x": "\\ud800"}',
        'Action: other\nAction Input: {"x": "two\\nlines"}',
        'Action: other\nAction Input: {"x": 1',
    ],
)
def test_empty_unreadable_and_right_texts_are_refused(text: str) -> None:
    assert ask().read(text) is None


def test_an_extra_call_is_wrong() -> None:
    wrong = ask(3).read(f"{ROW.reference}\n{ROW.reference}")
    assert wrong is not None
    assert not TASK.score(ROW, wrong.reference).correct


@settings(max_examples=100)
@given(
    st.one_of(
        st.text(), st.text().map(lambda t: f"Action: tool\nAction Input: {t}"),
        st.text().map(lambda t: f'Action: tool\nAction Input: {{"a": "{t}"}}'),
    ),
    st.integers(0, 3),
)  # fmt: skip
def test_any_text_is_refused_or_a_wrong_answer_in_the_template(text: str, number: int) -> None:
    wrong = ask(number).read(text)
    if wrong is not None:
        score = TASK.score(ROW, wrong.reference)
        assert score.extracted
        assert not score.correct
        assert wrong.hint.isprintable()
