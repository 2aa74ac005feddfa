"""Text as a model might write it: pieces of answers, calls and programs in any order, nested,
repeated until a slow pattern shows, and cut anywhere."""

from __future__ import annotations

import json

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.fuzz.damage import NASTY_TEXTS, texts, values

ANSWERS = (
    "Answer: ", "answer is ", "The correct option is ", "**Answer:** ", "\\boxed{", "\\text{",
    "}", "#### ", "A", "B", "(C)", "D.", "a)", "I", "A or B", "not B", "B is wrong", "No, wait: ",
    "option ", "\uff22", "\u7b54\u6848\uff1a", "A, B, C and D", "B,", " and ", " or ",
    "vitamin C", "is the best", "isn't", "- ", "> ", "  ", "\n", "\t", ".", ",", "Step 1. ",
    "it's ", "<think>", "</think>", "[THINK]", "[/THINK]", "<answer>", "</answer>", "I choose ",
    "I'd go with ", "A The heart", "A heart", "A because ", "I think ", "I am", "option a",
    "\\boxed{\\text{A", "\\(A\\)", '{"answer": "A', '"}', "Antwort: ", "R\u00e9ponse : ",
    "\u7b54\u6848\u4e0d\u662f", "a 5-year plan", "the heart",
)  # fmt: skip
NUMBERS = (
    "42", "-3.5", "1,000", "1.000,5", "1'000", "6 * 7 = 42", "= ", " - ", "/", "1/2", "3 1/2",
    "\\frac{1}{2}", "<<6*7=42>>", "<<", "$", "\u20ac", "%", "1e99", "e-99", "x 10^{9}", "million",
    "3,5,7", "\u0664\u0662", "0", "0/0", "1/0", "1st", "_", "^", "\u2212", "\u2044", "\\,", "{,}",
    "9" * 45, ".5", "1.", "\\times ", "usd ", "about ", "\\boxed{", "\\frac12",
    "\\frac { 3 } { 4 }", "\\sqrt{3}", "\\pi", "[2,5)", "(2, 5)", "3+4i", "2^{10}", "x = ", " or ",
    "½", "1½", "50¢", "5k", "$1.5M", "1 000 000", "1,00,000", "\\text{ cents}", "<think>", "minus ",
    "</think>", "10\u2076", "!", "The answer is ", "\u2013",
)  # fmt: skip
FORMULAS = (
    "$", "\\(", "\\)", "\\[", "\\]", "\\boxed{", "{", "}", "x", "=", "^", "_", "2", "10", "!", "|",
    ",", "(", "]", "\\sqrt", "\\frac", "\\pi", "\\infty", "\\cup", "\\int", "\\sum_{n=1}^", "&",
    "\\begin{pmatrix}", "\\\\", "\\end{pmatrix}", "\\text{ or }", "\\log_", "\\binom", "<", "\\le ",
    "\\left", "i", "e^", "%", "\u221a",
)  # fmt: skip
CALLS = (
    "Thought: I look.\n", "Thought:", "Action: ", "Action Input: ", "action 1 input 2:",
    "**Action**:", "Action:\n", "find_boat", "get_weather\n", '{"city": "Kiel"}',
    '{"a": 1, "a": 2}', "{", "}", "[", "]", '{"name": "add", "arguments": {"a": 1}}',
    '{"tool_calls": [', '"name": ', '"arguments": ', ":", '"{\\"a\\": 1}"', "NaN", "null", ",",
    '"', "\\", "```json\n", "```", "`", "> ", "* ", "    ", "\n", "\r\n", "[Optional]",
    '{"Action": "x", "Action_Input": "{}"}', "${id from find}", "[TOOL_CALLS]", "[ARGS]",
    "<tool_call>", "</tool_call>", "<function=add>", "</function>", "<parameter=a>", "</parameter>",
    "<|python_tag|>", "```tool_code\n", '[add(a=1, b="x")]', "[add(", "add(a=1)", "add{", "print(",
    "<｜tool▁sep｜>", "function", "<arg_key>a</arg_key>", "<arg_value>", "to=functions.add ",
    '{"type": "function", "function": ', '"parameters": ', '{"name": "now"}', "<think>", "</think>",
)  # fmt: skip
CODE = (
    "```python\n", "```", "````", "```py", "\n", "    ", "\t", "def f(x):", " return x", "f = 1",
    "import f", "from f import *", "class f: pass", "@f", "if x:", "(", ")", "[", "{", "lambda: ",
    '"""', "'", "#", "\\", '{"code": "', '"}', "yield", "async def f(): pass", "\x0c", "\x00",
    "f\ud800 = 1", "-", "not ", "x." * 50, "0x", "1_0", "\\d", "Here is the code:", "match x:", ":",
    "f(1)", "print(f(1))", "n = int(input())", "assert f(1)", "main()", "def main(): f(1)", "; ",
    "if __name__ == '__main__':", "~~~", "~~~python\n", ">>> ", "... ", "<think>", "</think>",
    "[PYTHON]", "[/PYTHON]", "<code>", "</code>", "<|eom_id|>", "\\begin{verbatim}", "f = f(f)",
    "from __future__ import annotations", "from math import *", "g(f)", "f.x = 1", "f[0] += 1",
    "global f", "nonlocal f", "def f[T](x): pass", "type f = int", "f'{", "\u00a0",
)  # fmt: skip
LONG = 12_000
"""Characters up to which a piece is repeated: four times what the longest completion holds."""


@st.composite
def completions(draw: DrawFn, pieces: tuple[str, ...]) -> str:
    """Up to 12 of ``pieces`` and of what any text may hold; in one of eight one piece
    is repeated."""
    piece = st.one_of(
        st.sampled_from(pieces),
        st.sampled_from(pieces),
        st.sampled_from(NASTY_TEXTS),
        texts(12),
    )
    parts = draw(st.lists(piece, max_size=12))
    if draw(st.integers(0, 7)) == 0:
        unit = "".join(draw(st.lists(piece, min_size=1, max_size=2)))
        parts.insert(draw(st.integers(0, len(parts))), unit * (LONG // max(1, len(unit))))
    return "".join(parts)


@st.composite
def json_calls(draw: DrawFn) -> str:
    """A call of any arguments in one of the forms that are read, with something before and
    after."""
    name, arguments = draw(texts(12)), draw(st.dictionaries(texts(6), values(), max_size=3))
    around = st.sampled_from(("", "\n", " ", "So:\n", "```json\n", "```"))
    plain = "".join(letter for letter in name if letter.isalnum()) or "f"
    named = ", ".join(f"a{index}={value!r}" for index, value in enumerate(arguments.values()))
    match draw(st.integers(0, 6)):
        case 0:
            said = json.dumps({"name": name, "arguments": arguments})
        case 1:
            said = json.dumps([{"Action": name, "Action Input": json.dumps(arguments)}])
        case 2:
            called = {"name": name, "arguments": json.dumps(arguments)}
            said = json.dumps({"tool_calls": [{"type": "function", "function": called}]})
        case 3:
            said = f"[TOOL_CALLS]{plain}[ARGS]{json.dumps(arguments)}"
        case 4:
            said = f"[{plain}({named})]"
        case 5:
            said = f"<function={plain}>" + "".join(
                f"<parameter={key}>{value}</parameter>" for key, value in arguments.items()
            )
        case _:
            said = f"Action: {name}\nAction Input: {json.dumps(arguments)}"
    return draw(around) + said + draw(around)
