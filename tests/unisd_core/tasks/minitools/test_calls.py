import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unisd_core.tasks.minitools.calls import (
    Call,
    argument_score,
    read_calls,
    same_value,
    write_calls,
)

ONE = 'Action: get_wind\nAction Input: {"city": "Oslo", "days": 3}'
WIND = Call("get_wind", {"city": "Oslo", "days": 3})


@pytest.mark.parametrize(
    "text",
    [
        ONE,
        f"\n  {ONE}\n\n",
        f"Thought: I need the wind.\n{ONE}",
        'Action:get_wind\nAction Input:{"city":"Oslo","days":3}',
        'Action: get_wind  \n\nAction Input: {\n "city": "Oslo",\n "days": 3\n}',
    ],
)
def test_tolerated_forms(text: str) -> None:
    reading = read_calls(text)
    assert (reading.calls, reading.clean) == ((WIND,), True)


@pytest.mark.parametrize(
    "text",
    [
        f"{ONE}\nHope this helps!",
        f"Sure!\n{ONE}",
        f"Thought: one\nThought: two\n{ONE}",
        f"{ONE}\nThought: done",
        f"{ONE}}}",
        f"```\n{ONE}\n```",
        f"{ONE}\nObservation: windy",
        f"{ONE}\nAction: get_wind\nAction Input: {{broken",
    ],
)
def test_chatter_leaves_the_call_readable_but_not_clean(text: str) -> None:
    reading = read_calls(text)
    assert reading.calls == (WIND,)
    assert not reading.clean


@pytest.mark.parametrize(
    "text",
    [
        "",
        "get_wind",
        '{"city": "Oslo"}',
        "Action: get_wind",
        'Action: get_wind Action Input: {"city": "Oslo"}',
        "Action: get_wind\nAction Input: Oslo",
        'Action: get_wind\nAction Input: ["Oslo"]',
        "Action: get_wind\nAction Input: {'city': 'Oslo'}",
        'Action: get_wind\nAction Input: {"city": "Oslo"',
        'Action: get_wind\nAction Input: {"city": "Oslo", "city": "Oslo"}',
        'Action: get_wind\nAction Input: {"city": {"a": 1, "a": 2}}',
        'Action: get_wind\nAction Input: {"days": NaN}',
        'Action: get_wind\nAction Input: {"days": -Infinity}',
        'Action: get_wind\nAction Input: {"city": "Os\nlo"}',
        "Action: get_wind\nAction Input: " + '{"a":' * 100_000,
        'Action: get_wind\nAction Input: {"days": ' + "9" * 10_000 + "}",
        'action: get_wind\naction input: {"city": "Oslo"}',
    ],
)
def test_what_is_no_call(text: str) -> None:
    reading = read_calls(text)
    assert reading.calls == ()
    assert not reading.clean


def test_text_inside_an_argument_is_not_read_as_a_call() -> None:
    tricky = Call("note", {"text": 'x\nAction: a\nAction Input: {"b": 1}'})
    reading = read_calls(write_calls([tricky, WIND]))
    assert (reading.calls, reading.clean) == ((tricky, WIND), True)


PIECES = [
    "Action:",
    "Action Input:",
    " a",
    "\n",
    "{",
    "}",
    '"k"',
    ":",
    "1",
    ",",
    "Thought:",
    "[",
    "é",
]


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join)))
def test_reading_never_raises(text: str) -> None:
    reading = read_calls(text)
    assert reading.calls or not reading.clean


names = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)
values = st.one_of(st.text(), st.booleans(), st.integers(), st.floats(allow_nan=False, width=32))
finite = values.filter(lambda v: not isinstance(v, float) or abs(v) < float("inf"))
calls_lists = st.lists(
    st.builds(Call, names, st.dictionaries(names, finite, max_size=4)), min_size=1, max_size=3
)


@given(calls_lists)
@settings(max_examples=40)
def test_what_is_written_is_read_back(calls: list[Call]) -> None:
    reading = read_calls(write_calls(calls))
    assert reading.clean
    assert list(reading.calls) == calls
    assert argument_score(reading.calls, calls) == 1.0


@given(calls_lists, calls_lists)
@settings(max_examples=40)
def test_argument_score_is_a_share_and_full_only_for_equal_arguments(
    ours: list[Call], theirs: list[Call]
) -> None:
    score = argument_score(ours, theirs)
    assert 0.0 <= score <= 1.0
    padded = [*ours, *[Call("", {})] * len(theirs)], [*theirs, *[Call("", {})] * len(ours)]
    equal = all(
        a.arguments.keys() == b.arguments.keys()
        and all(same_value(a.arguments[k], b.arguments[k]) for k in a.arguments)
        for a, b in zip(*padded, strict=True)
    )
    assert (score == 1.0) == equal


@pytest.mark.parametrize(
    ("predicted", "gold", "same"),
    [
        (3, 3, True), (3.0, 3, False), ("3", 3, False), (True, 1, False), (1, True, False),
        (4, 4.0, True), (4.0, 4.0, True), ("4.0", 4.0, False), (True, 1.0, False),
        (12.5, 12.5, True), (12.50001, 12.5, False), ("Oslo", "oslo", False), (" a", "a", False),
        (None, "a", False), ({"a": 1}, "a", False), (float("inf"), 4.0, False),
        (False, False, True), ("false", False, False), (0, False, False),
    ],
)  # fmt: skip
def test_value_comparison(predicted: Any, gold: Any, same: bool) -> None:
    assert same_value(predicted, gold) is same


@pytest.mark.parametrize(
    ("predicted", "score"),
    [
        ([{"a": 1, "b": "x"}], 1.0),
        ([{"b": "x", "a": 1}], 1.0),
        ([{"a": 1}], 0.5),
        ([{"a": 1, "b": "y"}], 0.5),
        ([{"a": 1, "b": "x", "c": 0}], 2 / 3),
        ([{"a": "1", "b": "x"}], 0.5),
        ([], 0.0),
        ([{"a": 1, "b": "x"}, {"a": 1, "b": "x"}], 0.5),
    ],
)
def test_argument_score(predicted: list[dict[str, Any]], score: float) -> None:
    gold = [Call("t", {"a": 1, "b": "x"})]
    assert argument_score([Call("t", p) for p in predicted], gold) == pytest.approx(score)


def test_written_json_is_plain() -> None:
    text = write_calls([Call("t", {"day": "2026-03-05", "on": True, "kg": 12.5})])
    assert text == 'Action: t\nAction Input: {"day": "2026-03-05", "on": true, "kg": 12.5}'
    assert json.loads(text.split("Action Input: ")[1])["kg"] == 12.5
