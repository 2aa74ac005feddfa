"""Shapes of custom rows as people write them: what each is read as, or why it is refused."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import pyarrow as pa

P = {"prompt": "Which planet is largest?"}
OPTIONS = ["Mars", "Jupiter", "Venus"]
ASSISTANT = {"role": "assistant", "content": "Jupiter"}
USER = {"role": "user", "content": "Which planet is largest?"}


class Shape(NamedTuple):
    """A row of ``metric``: ``said`` are fields of the row that is read, or what the refusal says.
    ``json`` is how the file holds it where ``fields`` cannot say it."""

    metric: str
    fields: dict[str, Any]
    said: dict[str, Any] | str
    json: str = ""


def exact(reference: Any, said: dict[str, Any] | str, **more: Any) -> Shape:
    return Shape("exact_match", {**P, "reference": reference, **more}, said)


def number(reference: Any, said: dict[str, Any] | str, **more: Any) -> Shape:
    return Shape("numeric", {**P, "reference": reference, **more}, said)


def choice(said: dict[str, Any] | str, **fields: Any) -> Shape:
    return Shape("choice", {**P, "choices": OPTIONS, **fields}, said)


def chat(user: dict[str, Any], assistant: dict[str, Any], said: dict[str, Any] | str) -> Shape:
    turns = [{**USER, **user}, {**ASSISTANT, **assistant}]
    return Shape("exact_match", {"messages": turns}, said)


def line(text: str, said: dict[str, Any] | str, metric: str = "exact_match") -> Shape:
    return Shape(metric, {}, said, text)


B, JUPITER = {"reference": "B"}, {"reference": "Jupiter"}
TYPED = {
    "text": exact("Jupiter", JUPITER),
    "integer": exact(42, {"reference": "42"}),
    "zero": exact(0, {"reference": "0"}),
    "negative integer": exact(-7, {"reference": "-7"}),
    "huge integer": exact(10**18, {"reference": "1" + "0" * 18}),
    "fraction": exact(0.5, {"reference": "0.5"}),
    "true": exact(True, "'reference' must be text, found True"),
    "false": exact(False, "'reference' must be text, found False"),
    "null": exact(None, "'reference' must be text, found None"),
    "empty": exact("", "'reference' must be text, found ''"),
    "blank": exact(" \n", "'reference' must be text"),
    "white space around": exact(" Jupiter\n", {"reference": " Jupiter\n"}),
    "Windows line ends": exact("one\r\ntwo", {"reference": "one\r\ntwo"}),
    "NUL": exact("a\0b", {"reference": "a\0b"}),
    "emoji": exact("\U0001f600", {"reference": "\U0001f600"}),
    "line separator": exact("a\u2028b", {"reference": "a\u2028b"}),
    "list": exact(["Jupiter"], "'reference' must be text, found ['Jupiter']"),
    "mapping": exact({"text": "Jupiter"}, "'reference' must be text"),
    "number as prompt": exact("x", "'prompt' must be text, found 3", prompt=3),
    "null prompt": exact("x", "'prompt' must be text, found None", prompt=None),
    "number as answer": exact("So 42\n42", {"answer": "42"}, answer=42),
    "null answer": exact("x", {"answer": ""}, answer=None),
    "blank answer": exact("x", {"answer": ""}, answer=" "),
    "true as answer": exact("x", "'answer' must be text or null, found True", answer=True),
    "list as answer": exact("x", "'answer' must be text or null", answer=["x"]),
    "answer that is not the reference's": exact("x", "does not score the reference", answer="y"),
    "number as uid": exact("x", {"uid": "17"}, uid=17),
    "zero as uid": exact("x", {"uid": "0"}, uid=0),
    "true as uid": exact("x", "'uid' must be text or null, found True", uid=True),
    "number as category": exact("x", {"category": "3"}, category=3),
    "null hint": exact("x", {"hint": ""}, hint=None),
    "number as hint": exact("x", "'hint' must be text or null, found 3", hint=3),
    "numeric integer": number(1200, {"reference": "1200"}),
    "numeric fraction": number(0.125, {"reference": "0.125"}),
    "numeric answer": number("It is 42.", {"answer": "42"}, answer=42),
    "numeric answer, whole float": number("It is 42.", {"reference": "It is 42."}, answer=42.0),
    "other numeric answer": number("It is 42.", "does not score the reference", answer=41),
    "letter": choice(B, reference="B"),
    "letter in brackets": choice({"reference": "(B)"}, reference="(B)"),
    "letter behind a label": choice({"reference": "Answer: B"}, reference="Answer: B"),
    "option's text": choice(B, reference="Jupiter"),
    "option's text, spaced": choice(B, reference=" Jupiter "),
    "answer is an option's text": choice(
        {"reference": "So it is.\nAnswer: B", "answer": "B"},
        reference="So it is.\nAnswer: B", answer="Jupiter",
    ),
    "text of no option": choice("no letter can be read", reference="Saturn"),
    "letter of no option": choice("has 3 texts and the answer is E", reference="E"),
    "text of two options": choice(
        "equals two of 'choices'", reference="Mars", choices=["Mars", "Mars"]
    ),
    "letter that is another option's text": choice(
        "may be an option's letter or its text", reference="A", choices=["B", "A"]
    ),
    "letter that is its option's text": choice(
        {"reference": "A"}, reference="A", choices=["A", "B"]
    ),
    "index as reference": choice("may count 'choices' from 0 or 1", reference=1),
    "index as answer": choice("field 'answer' is the number 2", reference="C", answer=2),
    "number that is an option": choice(B, reference=8, choices=[7, 8, 9]),
    "number in text that is an option": choice(B, reference="8", choices=[7, 8, 9]),
    "fractions as options": choice(B, reference=0.5, choices=[0.25, 0.5]),
    "truth values as options": choice("'choices' must be a list of texts", choices=[True, False],
                                      reference="A"),
    "null among options": choice("'choices' must be a list", choices=["a", None], reference="A"),
    "text for options": choice("'choices' must be a list", choices="Mars", reference="A"),
    "no options": choice("has 0 texts", choices=[], reference="A"),
    "options by letter": choice(B, choices={"A": "Mars", "B": "Jupiter"}, reference="Jupiter"),
    "options by other letters": choice(
        "'choices' must be a list", choices={"A": "x", "C": "y"}, reference="A"
    ),
    "options as in ARC": choice(
        B, choices={"label": ["1", "2"], "text": ["Mars", "Jupiter"]}, reference="2"
    ),
    "options as in ARC, number for the label": choice(
        B, choices={"label": ["1", "2"], "text": ["Mars", "Jupiter"]}, reference=2
    ),
    "options as in ARC, text": choice(
        B, choices={"label": ["A", "B"], "text": ["Mars", "Jupiter"]}, reference="Jupiter"
    ),
    "options as in ARC, labels turned": choice(
        "may be an option's letter",
        choices={"label": ["B", "A"], "text": ["Mars", "Jupiter"]}, reference="A",
    ),
    "options as in ARC, a label short": choice(
        "'choices' must be a list", choices={"label": ["A"], "text": ["x", "y"]}, reference="A"
    ),
    "options as in ARC, a label twice": choice(
        "'choices' must be a list", choices={"label": ["A", "A"], "text": ["x", "y"]}, reference="A"
    ),
    "options in pairs": choice(
        B, choices=[{"label": "A", "text": "Mars"}, {"label": "B", "text": "Jupiter"}],
        reference="Jupiter",
    ),
    "answer_index": choice({"reference": "So.\nB", "answer": "B"}, answer_index=1,
                           reference="So.\nB"),
    "answer_index alone": choice(B, answer_index=1),
    "answer_index as a whole float": choice(B, answer_index=1.0),
    "answer_index beside the answer": choice(B, answer_index=1, answer="Jupiter"),
    "answer_index beside another answer": choice("says something else", answer_index=0, answer="B"),
    "answer_index beyond the options": choice("'answer_index' must be an integer", answer_index=3),
    "answer_index as truth value": choice("'answer_index' must be an integer", answer_index=True),
    "answer without a reference": choice(B, answer="Jupiter"),
    "choices of another metric": exact("Jupiter", JUPITER, choices=OPTIONS),
    "completion": Shape("exact_match", {**P, "completion": "Jupiter"}, JUPITER),
    "completion, number": Shape("exact_match", {**P, "completion": 42}, {"reference": "42"}),
    "messages": chat({}, {}, {**JUPITER, **P}),
    "messages, number": chat({}, {"content": 42}, {"reference": "42"}),
    "messages and prompt": Shape(
        "exact_match", {**P, "messages": [USER, ASSISTANT]}, {**JUPITER, **P}
    ),
    "messages and another prompt": Shape(
        "exact_match", {"prompt": "Why?", "messages": [USER, ASSISTANT]},
        "'prompt' is not the user turn",
    ),
    "thought of the answer": chat(
        {}, {"reasoning_content": "It is big.\n"},
        {"reference": "<think>\nIt is big.\n</think>\n\nJupiter"},
    ),
    "thought by another name": chat(
        {}, {"thinking": "Big."}, {"reference": "<think>\nBig.\n</think>\n\nJupiter"}
    ),
    "thought, null": chat({}, {"reasoning_content": None}, JUPITER),
    "thought that is no text": chat({}, {"reasoning": 3}, "thought of 'messages' must be one text"),
    "two thoughts": chat({}, {"reasoning": "a", "thinking": "b"}, "must be one text"),
    "thought twice": chat(
        {}, {"reasoning": "a", "content": "<think>a</think>x"}, "in a field and in think tags"
    ),
    "thought of the user": chat({"reasoning": "a"}, {}, "user turn of 'messages' has 'reasoning'"),
    "tool calls": chat({}, {"tool_calls": [{"name": "f"}]}, "has 'tool_calls', which is not read"),
    "function call": chat({}, {"function_call": {"name": "f"}}, "has 'function_call'"),
    "no tool calls": chat({}, {"tool_calls": None, "name": ""}, JUPITER),
    "name of the user": chat({"name": "Ann"}, {}, "user turn of 'messages' has 'name'"),
    "text parts": chat(
        {"content": [{"type": "text", "text": "Which "}, {"type": "text", "text": "one?"}]}, {},
        {"prompt": "Which one?"},
    ),
    "image part": chat(
        {"content": [{"type": "text", "text": "x"}, {"type": "image", "url": "y"}]}, {},
        "user turn of 'messages' has a part that is no text",
    ),
    "part that is no mapping": chat({"content": ["Which?"]}, {}, "has a part that is no text"),
    "answer without content": chat({}, {"content": None}, "'reference' must be text, found None"),
    "other turns": Shape(
        "exact_match", {"messages": [USER, ASSISTANT, USER]}, "must be one user turn and one"
    ),
    "messages as text": Shape("exact_match", {"messages": "Hi"}, "must be one user turn and one"),
    "name in another case": Shape(
        "exact_match", {"Prompt": "x", "reference": "y"},
        "'prompt' must be text, but it is missing; the row has 'Prompt', 'reference'",
    ),
    "empty row": Shape("exact_match", {"uid": "1"}, "is missing; the row has 'uid'"),
    "column that is not read": exact("x", {"reference": "x"}, difficulty=3, source={"a": [None]}),
}  # fmt: skip
"""As JSONL, Parquet and, where a ``Row`` can hold it, in memory."""

WRITTEN = {
    "decimals as written": line('{"prompt": "p", "reference": 42.50}', {"reference": "42.50"}),
    "whole decimal": line('{"prompt": "p", "reference": 42.0}', {"reference": "42.0"}),
    "scientific": line('{"prompt": "p", "reference": 1.5e3}', {"reference": "1.5e3"}),
    "scientific, numeric": line('{"prompt": "p", "reference": 1e3}', {"reference": "1e3"},
                                "numeric"),
    "beyond floats": line('{"prompt": "p", "reference": 1e999}', "must be text, found inf"),
    "not a number": line('{"prompt": "p", "reference": NaN}', "must be text, found nan"),
    "infinity": line('{"prompt": "p", "reference": -Infinity}', "must be text, found -inf"),
    "digits without end": line(
        f'{{"prompt": "p", "reference": {"9" * 5000}}}', "malformed JSON (Exceeds the limit"
    ),
    "many digits": line(
        f'{{"prompt": "p", "reference": {"9" * 200}}}', {"reference": "9" * 200}
    ),
    "key twice": line(
        '{"prompt": "p", "reference": "a", "reference": "b"}', "key 'reference' appears twice"
    ),
    "key twice, the same value": line(
        '{"prompt": "p", "prompt": "p", "reference": "b"}', "key 'prompt' appears twice"
    ),
    "key twice inside": line(
        '{"prompt": "p", "reference": "b", "more": {"x": 1, "x": 2}}', "key 'x' appears twice"
    ),
    "half of a surrogate pair": line(
        '{"prompt": "p", "reference": "\\ud800"}', "malformed JSON ('utf-8' codec"
    ),
    "surrogate pair": line('{"prompt": "p", "reference": "\\ud83d\\ude00"}',
                           {"reference": "\U0001f600"}),
    "line end in a text": line('{"prompt": "p", "reference": "a\tb"}', "malformed JSON (Invalid"),
    "comma at the end": line('{"prompt": "p", "reference": "a",}', "malformed JSON"),
    "single quotes": line("{'prompt': 'p', 'reference': 'a'}", "malformed JSON"),
    "comment": line('{"prompt": "p", "reference": "a"} // x', "malformed JSON (Extra data"),
    "list": line('["p", "a"]', "expected a JSON object, found list"),
    "text": line('"p"', "expected a JSON object, found str"),
    "null": line("null", "expected a JSON object, found NoneType"),
    "two objects": line('{"prompt": "p"}{"reference": "a"}', "malformed JSON (Extra data"),
    "spaces around": line(' \t{"prompt": "p", "reference": "a"}  \r', {"reference": "a"}),
    "mark inside the file": line('\ufeff{"prompt": "p", "reference": "a"}', {"reference": "a"}),
    "NUL byte": line('{"prompt": "p\0", "reference": "a"}', "holds NUL bytes, as UTF-16 does"),
}  # fmt: skip
"""As JSONL alone: a line and what it is read as."""

COLUMNS: dict[str, tuple[str, pa.DataType, Any, dict[str, Any] | str]] = {
    "decimal": ("exact_match", pa.decimal128(9, 2), Decimal("42.50"), {"reference": "42.50"}),
    "whole decimal": ("exact_match", pa.decimal128(9, 2), Decimal("42"), {"reference": "42.00"}),
    "tiny decimal": (
        "exact_match", pa.decimal128(9, 8), Decimal("1e-8"), {"reference": "0.00000001"},
    ),
    "whole double": ("exact_match", pa.float64(), 42.0, "'reference' must be text, found 42.0"),
    "whole double, numeric": ("numeric", pa.float64(), 42.0, {"reference": "42"}),
    "missing double": ("exact_match", pa.float64(), float("nan"), "must be text, found nan"),
    "int8": ("exact_match", pa.int8(), 7, {"reference": "7"}),
    "uint64": ("exact_match", pa.uint64(), 2**64 - 1, {"reference": "18446744073709551615"}),
    "bool": ("exact_match", pa.bool_(), True, "must be text, found True"),
    "date": (
        "exact_match", pa.date32(), datetime.date(2024, 1, 2),
        "must be text, found datetime.date(2024, 1, 2)",
    ),
    "timestamp": (
        "exact_match", pa.timestamp("us"), datetime.datetime(2024, 1, 2),
        "must be text, found datetime.datetime",
    ),
    "binary": ("exact_match", pa.binary(), b"Jupiter", "must be text, found b'Jupiter'"),
    "large_string": ("exact_match", pa.large_string(), "Jupiter", JUPITER),
    "dictionary": ("exact_match", pa.dictionary(pa.int8(), pa.string()), "Jupiter", JUPITER),
    "null": ("exact_match", pa.null(), None, "must be text, found None"),
}  # fmt: skip
"""Types of a Parquet column ``reference`` that JSON does not have: metric, type, value."""
