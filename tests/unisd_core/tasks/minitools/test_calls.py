import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.calls import calls_lists, check_reads_anything
from unisd_core.tasks.minitools.calls import read_calls
from unisd_core.tasks.reading.call import Call
from unisd_core.tasks.reading.tool_calls import write_calls

ONE = 'Action: get_wind\nAction Input: {"city": "Oslo", "days": 3}'
WIND = Call("get_wind", {"city": "Oslo", "days": 3})


@pytest.mark.parametrize(
    "text",
    [
        ONE,
        f"\n  {ONE}\n\n",
        f"Thought: I need the wind.\n{ONE}",
        f"<think>\nThe wind, so {ONE}\n</think>\n\n{ONE}",
        f"I need the wind.</think>{ONE}",
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
        'Action: get_wind\nAction Input: {"days": ' + "[" * 900 + "]" * 900 + "}",
        "Action:" + " " * 12_000 + "\n",
        'action: get_wind\naction input: {"city": "Oslo"}',
        f"<think>{ONE}</think>",
        f"<think>{ONE}",
        '{"name": "get_wind", "arguments": {"city": "Oslo", "days": 3}}',
        '[get_wind(city="Oslo", days=3)]',
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
    check_reads_anything(read_calls, text)


@given(calls_lists)
@settings(max_examples=40)
def test_what_is_written_is_read_back(calls: list[Call]) -> None:
    reading = read_calls(write_calls(calls))
    assert reading.clean
    assert list(reading.calls) == calls
