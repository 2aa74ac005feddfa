import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.calls import calls_lists, check_linear, check_reads_anything
from unisd_core.tasks.reading.call import Call, Reading
from unisd_core.tasks.reading.call_comparison import argument_score
from unisd_core.tasks.reading.tool_calls import find_calls, write_calls

ONE = 'Action: get_wind\nAction Input: {"city": "Oslo", "days": 3}'
WIND = Call("get_wind", {"city": "Oslo", "days": 3})
OTHER = Call("stop", {})
JSON = '{"Action": "get_wind", "Action_Input": {"city": "Oslo", "days": 3}}'
TWO = f"{ONE}\nAction: stop\nAction Input: {{}}"


@pytest.mark.parametrize(
    "text",
    [
        ONE,
        f"Thought: I need the wind.\n{ONE}",
        f"Sure! Here it is:\n\n{ONE}\n\nHope this helps.",
        f"{ONE}\nObservation: Action and Action Input were fine",
        f"{ONE}\nThought: I know now\nFinal Answer: it is windy",
        f"{ONE}}}",
        ONE.replace("\n", "\r\n"),
        ONE.lower().replace("oslo", "Oslo"),
        ONE.replace("Action:", "ACTION:").replace("Action Input", "ACTION INPUT"),
        ONE.replace("Action Input", "Action_Input"),
        ONE.replace(": ", ":", 1).replace("Input: ", "Input:"),
        ONE.replace("Action:", "**Action:**").replace("Action Input:", "**Action Input:**"),
        ONE.replace("Action:", "**Action**:").replace("Action Input:", "**Action Input**:"),
        ONE.replace("Action:", "- Action:").replace("Action Input:", "- Action Input:"),
        ONE.replace("Action:", "### Action:").replace("Action Input:", "### Action Input:"),
        ONE.replace("Action:", "> Action:").replace("Action Input:", "> Action Input:"),
        ONE.replace("Action:", "Action 1:").replace("Action Input:", "Action 1 Input:"),
        ONE.replace("Action:", "Action 1:").replace("Action Input:", "Action Input 1:"),
        ONE.replace("get_wind", "`get_wind`"),
        ONE.replace("get_wind", '"get_wind"'),
        ONE.replace("get_wind", "**get_wind**"),
        ONE.replace("Action: ", "Action:\n").replace("Input: ", "Input:\n"),
        ONE.replace("\n", "\n\n\n"),
        f"```\n{ONE}\n```",
        ONE.replace("{", "\n```json\n{").replace("}", "}\n```"),
        ONE.replace("{", "`{").replace("}", "}`"),
        'Action: get_wind\nAction Input: {\n  "city": "Oslo",\n  "days": 3\n}',
        'Action: get_wind\nAction Input: "{\\"city\\": \\"Oslo\\", \\"days\\": 3}"',
        'Action: get_wind\nAction Input: {"city": "\\u004fslo", "days": 3}',
        JSON,
        f"[{JSON}]",
        f'{{"tool_calls": [{JSON}]}}',
        f"Here you are:\n```json\n{JSON}\n```\nAnything else?",
        JSON.replace("Action_Input", "Action Input"),
        '{"thought": "x", "action": "get_wind", "action_input": {"city": "Oslo", "days": 3}}',
        '{"name": "get_wind", "arguments": {"city": "Oslo", "days": 3}}',
        '<tool_call>\n{"name": "get_wind", "arguments": {"city": "Oslo", "days": 3}}\n</tool_call>',
        '{"name": "get_wind", "arguments": "{\\"city\\": \\"Oslo\\", \\"days\\": 3}"}',
    ],
)  # fmt: skip
def test_forms_of_one_call(text: str) -> None:
    assert find_calls(text) == Reading((WIND,), True)


@pytest.mark.parametrize(
    "text",
    [
        TWO,
        TWO.replace("\nAction: stop", '\nObservation: {"kmh": 9}\nThought: next\nAction: stop'),
        f'{{"tool_calls": [{JSON}, {{"name": "stop", "arguments": {{}}}}]}}',
        f'{JSON}\n{{"name": "stop", "arguments": {{}}}}',
        f'```json\n{JSON}\n```\n```json\n{{"Action": "stop", "Action_Input": "{{}}"}}\n```',
    ],
)
def test_forms_of_several_calls(text: str) -> None:
    assert find_calls(text) == Reading((WIND, OTHER), True)


@pytest.mark.parametrize(
    "text",
    [
        f"{ONE}\nAction: stop",
        f"{ONE}\nAction: stop\nAction Input:",
        f"{ONE}\nAction: stop\nAction Input: none",
        f"{ONE}\nAction: stop\nAction Input: {{'a': 1}}",
        f'{ONE}\nAction: stop\nAction Input: {{"a": 1,}}',
        f'{ONE}\nAction: stop\nAction Input: {{"a": 1, "a": 2}}',
        f'{ONE}\nAction: stop\nAction Input: {{"a": NaN}}',
        f'{ONE}\nAction: stop\nAction Input: {{"a": 1',
        f'{ONE}\nAction: stop\nAction Input: ["a"]',
        f"{ONE}\nAction Input: {{}}",
        f"{ONE}\nAction:\nAction Input: {{}}",
        f"{ONE}\nAction: stop\nThought: or not\nAction Input: {{}}",
        f"Action: stop\n{ONE}",
        f"{JSON}\n{{'name': 'stop'}}",
        f'So:\n{JSON}\n{{"name": "stop"}}',
        f'[{JSON}, {{"name": "", "arguments": {{}}}}]',
        f"[{JSON}, 1]",
    ],
)
def test_a_malformed_call_leaves_the_others_readable_but_not_clean(text: str) -> None:
    assert find_calls(text) == Reading((WIND,), False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "get_wind",
        "I would call get_wind(city='Oslo').",
        "Action: get_wind",
        'Action: get_wind Action Input: {"city": "Oslo"}',
        "Final Answer: Action",
        '{"city": "Oslo"}',
        '{"tool_calls": []}',
        '{"tool_calls": "none"}',
        "Action: a\nAction Input: " + '{"a":' * 100_000,
        "Action: a\nAction Input: " + '{"a":' * 40 + "1" + "}" * 40,
        'Action: a\nAction Input: {"a": ' + "9" * 10_000 + "}",
        "[" * 100_000,
    ],
)
def test_what_is_no_call(text: str) -> None:
    assert find_calls(text) == Reading((), False)


def test_text_inside_an_argument_is_not_read_as_a_call() -> None:
    tricky = Call("note", {"text": 'x\nAction: a\nAction Input: {"b": 1}'})
    assert find_calls(write_calls([tricky, WIND])) == Reading((tricky, WIND), True)


def test_other_scripts_are_written_as_they_are() -> None:
    call = Call("cherche", {"ville": "Orléans", "国": "日本 🗻"})
    assert '"日本 🗻"' in write_calls([call])
    assert find_calls(write_calls([call])) == Reading((call,), True)


PIECES = [
    "Action", "Action:", "Action Input:", "action_input :", " a", "\n", "\r", "{", "}", "[", "]",
    '"', '"k"', ":", "1", ",", "Thought:", "Observation:", "```", "**", "\\", "é", " ", "\t",
    '"tool_calls"', '"name"', '"arguments"',
]  # fmt: skip


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join)))
def test_reading_never_raises(text: str) -> None:
    check_reads_anything(find_calls, text)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join))
def test_reading_takes_linear_time(piece: str) -> None:
    check_linear(find_calls, piece * (200_000 // len(piece)))


@pytest.mark.parametrize(
    "text",
    [
        "Action" + " " * 200_000,
        "Action:" + " " * 200_000 + "x",
        " " * 200_000 + "Action",
        "Action: a\nAction Input:" + "\n" * 200_000,
        'Action: a\nAction Input: {"' * 10_000,
        'Action: a\nAction Input: {"\n' * 10_000,
        "Action: a\nAction Input: x\n" * 10_000,
        "Action: a\n" * 20_000,
        '{"a": "' * 30_000,
        "[]" * 100_000,
    ],
)
def test_long_hostile_text_is_read_in_linear_time(text: str) -> None:
    check_linear(find_calls, text)


@given(calls_lists)
@settings(max_examples=40)
def test_what_is_written_is_read_back(calls: list[Call]) -> None:
    assert find_calls(write_calls(calls)) == Reading(tuple(calls), True)
    assert argument_score(calls, calls) == 1.0


def test_written_json_is_plain() -> None:
    text = write_calls([Call("t", {"day": "2026-03-05", "on": True, "kg": 12.5})])
    assert text == 'Action: t\nAction Input: {"day": "2026-03-05", "on": true, "kg": 12.5}'
    assert json.loads(text.split("Action Input: ")[1])["kg"] == 12.5
