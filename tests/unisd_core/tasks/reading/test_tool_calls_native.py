"""Each family's own form of a call, with and without its special tokens."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.calls import check_linear, check_reads_anything
from unisd_core.tasks.reading.call import Call, Reading
from unisd_core.tasks.reading.call_comparison import score_calls
from unisd_core.tasks.reading.tool_calls import find_calls

WIND = Call("get_wind", {"city": "Oslo", "days": 3})
NOW = Call("now", {})
GIVEN = '{"city": "Oslo", "days": 3}'
TEXT = '"{\\"city\\": \\"Oslo\\", \\"days\\": 3}"'
JSON = f'{{"name": "get_wind", "arguments": {GIVEN}}}'
LLAMA = f'{{"name": "get_wind", "parameters": {GIVEN}}}'
OPENAI = f'{{"type": "function", "function": {{"name": "get_wind", "arguments": {TEXT}}}}}'
PYTHON = 'get_wind(city="Oslo", days=3)'
QWEN_CODER = (
    "<function=get_wind>\n<parameter=city>\nOslo\n</parameter>\n"
    "<parameter=days>\n3\n</parameter>\n</function>"
)
INVOKE = (
    '<invoke name="get_wind">\n<parameter name="city">Oslo</parameter>\n'
    '<parameter name="days">3</parameter>\n</invoke>'
)
GLM = (
    "<tool_call>get_wind\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n"
    "<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>"
)
DSML = (
    '<｜DSML｜function_calls>\n<｜DSML｜invoke name="get_wind">\n'
    '<｜DSML｜parameter name="city" string="true">Oslo</｜DSML｜parameter>\n'
    '<｜DSML｜parameter name="days" string="false">3</｜DSML｜parameter>\n'
    "</｜DSML｜invoke>\n</｜DSML｜function_calls>"
)


def right(text: str, *calls: Call) -> bool:
    return score_calls(find_calls(text), calls).correct


@pytest.mark.parametrize(
    "text",
    [
        # JSON of Llama 3, OpenAI and those that follow it.
        LLAMA,
        f"<|python_tag|>{LLAMA}<|eom_id|>",
        f"{LLAMA}<|eot_id|>",
        LLAMA.replace('"name"', '"type": "function", "name"'),
        f'{{"name": "get_wind", "parameters": {TEXT}}}',
        f'{{"function": "get_wind", "parameters": {GIVEN}}}',
        OPENAI,
        f"[{OPENAI}]",
        f'{{"function": {JSON}}}',
        f'{{"function_call": {{"name": "get_wind", "arguments": {TEXT}}}}}',
        f'{{"tool_calls": [{OPENAI}]}}',
        f'{{"role": "assistant", "content": null, "tool_calls": [{OPENAI}]}}',
        OPENAI.replace('"type"', '"id": "call_1", "type"'),
        f'{{"tool_call": {JSON}}}',
        f'{{"tool_name": "get_wind", "parameters": {GIVEN}}}',
        # Hermes, Qwen and Granite.
        f"<tool_call>\n{JSON}\n</tool_call>",
        f"<tool_call>\n{JSON}",
        f"<tool_call>{JSON}</tool_call><|im_end|>",
        f"I look it up.\n<tool_call>\n{JSON}\n</tool_call>",
        f"<|tool_call|>[{JSON}]",
        f"<tool_call>[{JSON}]",
        f"<think>\nThe wind, so get_wind.\n</think>\n\n<tool_call>\n{JSON}\n</tool_call>",
        f"<tool_calls>[{JSON}]</tool_calls>",
        f"<function_calls>\n{JSON}\n</function_calls>",
        # Mistral.
        f"[TOOL_CALLS][{JSON}]",
        f"[TOOL_CALLS] [{JSON}]</s>",
        f"[{JSON}]",
        f"[TOOL_CALLS]get_wind[ARGS]{GIVEN}",
        f"[TOOL_CALLS]get_wind{GIVEN}",
        f"[TOOL_CALLS]get_wind[CALL_ID]a1b2c3d4e[ARGS]{GIVEN}",
        f"get_wind[ARGS]{GIVEN}",
        f"get_wind{GIVEN}",
        f"Let me look.\nget_wind{GIVEN}",
        f"[THINK]The wind.[/THINK][TOOL_CALLS]get_wind[ARGS]{GIVEN}",
        # Tags: Llama 3.1, Qwen3-Coder, MiniMax, Seed, GLM.
        f"<function=get_wind>{GIVEN}</function>",
        f"<function=get_wind>\n{GIVEN}\n</function><|eom_id|>",
        f"<function=get_wind>{GIVEN}",
        f'<function name="get_wind">{GIVEN}</function>',
        QWEN_CODER,
        f"<tool_call>\n{QWEN_CODER}\n</tool_call>",
        f"I look it up.\n\n<tool_call>\n{QWEN_CODER}",
        f"<seed:tool_call>{QWEN_CODER}</seed:tool_call>",
        QWEN_CODER.replace("</function>", ""),
        f"<minimax:tool_call>\n{INVOKE}\n</minimax:tool_call>",
        f"<function_calls>\n{INVOKE}\n</function_calls>",
        GLM,
        f"Yes.\n{GLM}",
        # Python: Llama 4, LFM, Gemma, Olmo.
        f"[{PYTHON}]",
        f"[{PYTHON}]<|eot_id|>",
        f"<|tool_call_start|>[{PYTHON}]<|tool_call_end|>",
        f"<|tool_call_start|>[{PYTHON}]<|tool_call_end|>Checking the wind.",
        f"<function_calls>\n{PYTHON}\n</function_calls>",
        f"Sure: [{PYTHON}]",
        "[get_wind(city='Oslo', days=3)]",
        "[ get_wind(\n    city='Oslo',\n    days=3,\n) ]",
        PYTHON,
        f"```python\n{PYTHON}\n```",
        f"```tool_code\n{PYTHON}\n```",
        f"```tool_code\nprint({PYTHON})\n```",
        f"```tool_code\nprint(default_api.{PYTHON})\n```<end_of_turn>",
        f"Okay, I will look.\n```tool_code\n{PYTHON}\n```\nThen we know.",
        f"```json\n{JSON}\n```",
        f"```json\n[{JSON}]\n```",
        f"```tool_call\n{PYTHON}\n```",
        f"```tool_call\n{JSON}\n```",
        "<|python_tag|>get_wind.call(city='Oslo', days=3)<|eom_id|>",
        # DeepSeek and Kimi.
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_wind\n"
        f"```json\n{GIVEN}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜>",
        f"functionget_wind\n```json\n{GIVEN}\n```",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_wind<｜tool▁sep｜>"
        f"{GIVEN}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        DSML,
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_wind:0"
        f"<|tool_call_argument_begin|>{GIVEN}<|tool_call_end|><|tool_calls_section_end|>",
        f"functions.get_wind:0{GIVEN}",
        # Phi-4, Cohere, Nemotron, InternLM, gpt-oss.
        f"<|tool_call|>[{JSON}]<|/tool_call|>",
        f"functools[{JSON}]",
        f'<|START_ACTION|>[{{"tool_call_id": "0", "tool_name": "get_wind", "parameters": {GIVEN}}}]'
        "<|END_ACTION|>",
        f"<TOOLCALL>[{JSON}]</TOOLCALL>",
        f"<|action_start|><|plugin|>{LLAMA}<|action_end|>",
        f"<|channel|>commentary to=functions.get_wind <|constrain|>json<|message|>{GIVEN}<|call|>",
        f"commentary to=functions.get_wind json{GIVEN}",
        # Whatever the form, only what follows the thought counts.
        f'<think>{JSON.replace("Oslo", "Rome")}</think>{LLAMA}',
        f'<think>Perhaps [get_wind(city="Rome")]?</think>\n[{PYTHON}]',
        f"The template opened it.</think>\n<tool_call>\n{JSON}\n</tool_call>",
    ],
)  # fmt: skip
def test_a_call_in_the_form_of_its_family_is_right(text: str) -> None:
    assert right(text, WIND)


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "now"}',
        '```json\n{"name": "now"}\n```',
        'Here it is:\n```json\n{"name": "now"}\n```',
        '{"name": "now", "arguments": null}',
        '{"name": "now", "arguments": ""}',
        '{"name": "now", "parameters": {}}',
        '{"type": "function", "function": {"name": "now"}}',
        'Sure. {"tool_calls": [{"id": "1", "type": "function", "function": {"name": "now"}}]}',
        'I ask.\n<tool_call>\n{"name": "now"}\n</tool_call>',
        '[TOOL_CALLS][{"name": "now"}]',
        "[TOOL_CALLS]now[ARGS]{}",
        "now{}",
        "<function=now></function>",
        "<function=now>{}</function>",
        "<tool_call>\n<function=now>\n</function>\n</tool_call>",
        "<tool_call>now\n</tool_call>",
        "[now()]",
        "now()",
        "```tool_code\nnow()\n```",
        "functionnow\n```json\n{}\n```",
    ],
)
def test_a_call_without_arguments_is_right(text: str) -> None:
    assert find_calls(text) == Reading((NOW,), True)


@pytest.mark.parametrize(
    "text",
    [
        f'[{LLAMA}, {{"name": "now"}}]',
        f'Both: [{JSON}, {{"name": "now"}}]',
        f'{LLAMA}; {{"name": "now", "parameters": {{}}}}',
        f'<tool_call>\n{JSON}\n</tool_call>\n<tool_call>\n{{"name": "now"}}\n</tool_call>',
        f"[TOOL_CALLS]get_wind[ARGS]{GIVEN}[TOOL_CALLS]now[ARGS]{{}}",
        f"get_wind{GIVEN}now{{}}",
        f"[{PYTHON}, now()]",
        f"{PYTHON}\nnow()",
        f"```tool_code\n{PYTHON}\nprint(now())\n```",
        f"```tool_code\n{PYTHON}\n```\nand\n```tool_code\nnow()\n```",
        f"<tool_call>\n{QWEN_CODER}\n</tool_call>\n<tool_call>\n<function=now>\n</function>\n"
        "</tool_call>",
        f"<function=get_wind>{GIVEN}</function><function=now>{{}}</function>",
        f"{GLM}\n<tool_call>now\n</tool_call>",
        f"functions.get_wind:0{GIVEN}functions.now:1{{}}",
        f"functionget_wind\n```json\n{GIVEN}\n```\nfunctionnow\n```json\n{{}}\n```",
    ],
)
def test_several_calls_in_the_form_of_their_family_are_right(text: str) -> None:
    assert right(text, WIND, NOW)


@pytest.mark.parametrize(
    "text",
    [
        # An object with a name that somebody speaks of.
        'The user is {"name": "now"}.',
        'Profile: {"name": "now", "age": 3}',
        '{"name": "now", "city": "Oslo"}',
        '{"name": "now", "description": "The time."}',
        '{"id": "now"}',
        # A tool that is described and not called.
        '{"name": "now", "description": "Time.", "parameters": {"zone": "text"}}',
        '{"name": "now", "parameters": {"type": "object", "properties": {"zone": {}}}}',
        '{"type": "function", "function": {"name": "now", "description": "T", "parameters": {}}}',
        # Two kinds of arguments.
        '{"name": "now", "arguments": {}, "parameters": {"a": 1}}',
        # Arguments that are none.
        '{"name": "now", "parameters": [1]}',
        '{"name": "now", "parameters": "zone"}',
        '{"name": 3, "parameters": {}}',
        '{"function": {"arguments": {}}}',
        # Python that is more than literals, or names no arguments.
        "[now('Oslo')]",
        "[now(zone=zone)]",
        "[now(zone=open('/etc/passwd'))]",
        "[now(zone=1 + 1)]",
        "[now(zone=f'{1}')]",
        "[now(zone=1e999)]",
        "[now(zone=b'a')]",
        "[now(zone=1, zone=2)]",
        "[now(**{'zone': 1})]",
        "[now(zone={'a': 1, 'a': 2})]",
        "[now(zone={1: 2})]",
        "[now(zone=-True)]",
        "[now]",
        "[now()()]",
        "[now() for _ in range(3)]",
        "import os\nnow()",
        "x = now()",
        "I would call now().",
        "```python\nprint(\"now\")\n```",
        # Torn.
        "<function=now>",
        "<function=now>{",
        "<function=now>{}{",
        "<function=now>[1]</function>",
        "<function=now><parameter=zone>UTC",
        "<function=now><parameter=zone>1</parameter><parameter=zone>2</parameter></function>",
        "<tool_call>now\n<arg_key>zone</arg_key>\n<arg_value>UTC",
        "[TOOL_CALLS]",
        "[TOOL_CALLS]now[ARGS]",
        "[TOOL_CALLS]now[ARGS]{",
        "[TOOL_CALLS]now",
        "[now(zone='UTC",
        "<tool_call>",
        "<|python_tag|>",
        "```tool_code\n```",
        # A thought that never ends, or holds the call.
        '<think>I call {"name": "now", "arguments": {}}',
        '<think>{"name": "now", "arguments": {}}</think>It is noon.',
        '</think><think>[now()]',
        "[THINK][TOOL_CALLS]now[ARGS]{}",
    ],
)  # fmt: skip
def test_what_is_no_call_of_any_family(text: str) -> None:
    assert not right(text, NOW)
    assert not find_calls(text).clean


def test_what_is_no_call_is_none_beside_one() -> None:
    assert find_calls(f'{JSON} for {{"name": "Bob"}}') == Reading((WIND,), False)
    assert find_calls(f"{JSON}\n[1]") == Reading((WIND,), False)


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("3", "3"), ("3", 3), ("3.0", 3.0), ("3", 3.0), ("True", True), ("true", True),
        ("None", None), ("null", None), ('[1, "a"]', [1, "a"]), ('{"a": 1}', {"a": 1}),
        ("Oslo", "Oslo"), ("", ""),
    ],
)  # fmt: skip
def test_a_value_in_a_tag_is_right_as_text_and_as_what_it_reads(said: str, value: Any) -> None:
    text = f"<function=f><parameter=x>{said}</parameter></function>"
    assert right(text, Call("f", {"x": value}))
    assert not right(text, Call("f", {"x": "other"}))


def test_a_tags_value_keeps_its_lines_and_signs() -> None:
    code = "if a < b:\n    print('</p>')\n"
    text = f"<function=run><parameter=code>\n{code}\n</parameter></function>"
    assert right(text, Call("run", {"code": code}))


def test_python_values_are_json() -> None:
    text = "[f(a=[1, -2.5, (True, null)], b={'x': None, 'y': \"it's\"}, c=false)]"
    gold = Call("f", {"a": [1, -2.5, [True, None]], "b": {"x": None, "y": "it's"}, "c": False})
    assert find_calls(text) == Reading((gold,), True)


def test_a_name_before_json_that_is_a_call_by_itself_is_no_tool() -> None:
    assert find_calls(f"json{JSON}") == Reading((WIND,), True)
    wrapped = Call("run", {"name": "get_wind", "arguments": {}})
    assert find_calls('run[ARGS]{"name": "get_wind", "arguments": {}}') == Reading((wrapped,), True)


def test_a_name_before_no_calls_at_all_is_a_tool() -> None:
    assert find_calls('run{"tool_calls": []}').calls == (Call("run", {"tool_calls": []}),)


def test_marks_inside_an_argument_are_text() -> None:
    text = "x <tool_call> [TOOL_CALLS] <function=f> ```tool_code\\nf()\\n``` [f()]"
    said = Call("note", {"text": text.replace("\\n", "\n")})
    assert find_calls(f'{{"name": "note", "arguments": {{"text": "{text}"}}}}').calls == (said,)
    code = Call("note", {"text": "```tool_code f()```"})
    assert find_calls('{"name": "note", "arguments": {"text": "```tool_code f()```"}}').calls == (
        code,
    )


PIECES = [
    "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "<tool_call>", "</tool_call>", "<function=f>", "f",
    "</function>", "<parameter=x>", "</parameter>", "<|python_tag|>", "```tool_code\n", "```",
    "[f(",
    "x=", "1", '"', "'", "\\", ")", "]", "{", "}", ":", ",", '"name"', "<arg_key>", "</arg_key>",
    "<arg_value>", "</arg_value>", "<｜tool▁sep｜>", "function", "\n", " ", "-", ".", "(",
    "functools",    "to=functions.f", "<think>", "</think>", "{}", '{"name": "f"}',
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_reading_never_raises(text: str) -> None:
    check_reads_anything(find_calls, text)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join))
def test_reading_takes_linear_time(piece: str) -> None:
    check_linear(find_calls, piece * (200_000 // len(piece)))
