import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unisd_core.tasks.code.samples import STUB
from unisd_core.tasks.code.extraction import extract_code
from unisd_core.tasks.code.source import defines

F = "def f(x):\n    return x + 1"
WRONG = "def f(x):\n    return x"
DOC = 'def f(x):\n    """Adds.\n\n    ```\n    f(1)\n    ```\n    """\n    return x + 1'
TEXT = 'def f(x):\n    """\n\n    """\n    return x + 1'
BODY = "    y = x\n    return y + 1"
HEAD = "def f(x):\n    '''One more.'''\n"


def fence(code: str, label: str = "python") -> str:
    return f"```{label}\n{code}\n```"


READABLE = {
    "python fence": fence(F),
    "py fence": fence(F, "py"),
    "Python fence": fence(F, "Python"),
    "no label": fence(F, ""),
    "wrong label": fence(F, "java"),
    "label after a space": fence(F, " python"),
    "label with attributes": fence(F, 'python title="f.py"'),
    "four marks": f"````python\n{F}\n````",
    "prose around": f"Sure!\n\n{fence(F)}\n\nThis adds one to `x`.",
    "open fence": f"```python\n{F}",
    "open fence after prose": f"Here:\n```\n{F}\n",
    "closed on the last line": f"```python\n{F}```",
    "opened within a line": f"The code: ```python\n{F}\n```",
    "code behind the mark": f"```{F}\n```",
    "code behind the label": f"```python {F}\n```",
    "one line": "Use ```python f = lambda x: x + 1``` here.",
    "windows lines": fence(F).replace("\n", "\r\n"),
    "old mac lines": fence(F).replace("\n", "\r"),
    "indented in a list": "1. Do:\n   ```python\n   def f(x):\n       return x + 1\n   ```",
    "usage first": f"{fence('print(f(1))')}\n{fence(F)}",
    "usage after": f"{fence(F)}\nThen:\n{fence('print(f(1))')}",
    "shell first": f"{fence('pip install f', 'bash')}\n{fence(F)}",
    "the last of two": f"{fence(WRONG)}\nThat returns x itself. Better:\n{fence(F)}",
    "broken, then whole": f"{fence('def f(x) return')}\n{fence(F)}",
    "never closed, then whole": f"```python\ndef f(x:\n{fence(F)}",
    "fence in a docstring": fence(DOC),
    "blank lines in a string": fence(TEXT),
    "raw": F,
    "raw with blank lines around": f"\n\n{F}\n\n",
    "raw with imports": f"import math\n{F}",
    "raw between prose": f"Here it is:\n\n{F}\n\nIt adds one.",
    "raw with decorator": "Ok.\n@staticmethod\ndef f(x):\n    return x + 1\nDone!",
    "json": json.dumps({"code": F}),
    "json with reasoning": json.dumps({"reasoning": "add", "code": F}, indent=1),
    "json with a fence in it": json.dumps({"code": fence(F)}),
    "json in a fence": fence(json.dumps({"code": F}), "json"),
    "json with raw line ends": '{"code": "def f(x):\n    return x + 1"}',
    "lambda": fence("f = lambda x: x + 1"),
    "helper and function": fence(f"def g(x):\n    return x + 1\n{F.replace('x + 1', 'g(x)')}"),
    "inline code before": f"Call `f(x)` on ```x```.\n{fence(F)}",
    "null byte in prose": f"\0\n{fence(F)}",
    "surrogate in prose": f"\ud800\n{fence(F)}",
    "tests in the block": fence(f"{F}\n\nassert f(1) == 2"),
}
UNREADABLE = {
    "empty": "",
    "prose": "I would add one to x and return it.",
    "inline": "Use `f` with ```x + 1```.",
    "other function": fence("def g(x):\n    return x + 1"),
    "method": fence("class Solution:\n    def f(self, x):\n        return x + 1"),
    "call alone": fence("print(f(1))"),
    "cut off": "```python\ndef f(x):\n    return (x +",
    "signature alone": fence("def f(x):"),
    "body alone": fence(BODY),
    "other language": fence("function f(x) { return x + 1 }", "javascript"),
    "json without code": '{"answer": 1}',
    "json list": '[{"code": 1}]',
    "json number as code": '{"code": 1}',
    "null byte in code": fence("def f(x):\n    return '\0'"),
    "marks only": "``````" * 50,
    "deep": "(" * 5000,
    "deep json": '{"code": ' * 5000,
}


@pytest.mark.parametrize("shape", READABLE)
def test_the_program_is_found(shape: str) -> None:
    code = extract_code(READABLE[shape], "f")
    assert code is not None
    space: dict[str, object] = {}
    exec(code, space)  # Only texts of this file.
    f = space["f"]
    assert callable(f)
    assert f(1) == 2


@pytest.mark.parametrize("shape", UNREADABLE)
def test_what_holds_no_such_program_gives_none(shape: str) -> None:
    assert extract_code(UNREADABLE[shape], "f") is None


def test_whitespace_in_strings_survives() -> None:
    text = 'def f():\n    return """a\n   \n\tb"""'
    assert extract_code(fence(text), "f") == text


CONTINUED = {
    "body": BODY,
    "body in a fence": fence(BODY),
    "body to the left": fence("y = x\nreturn y + 1"),
    "first line lost its indentation": BODY.lstrip(),
    "first line lost it, in a fence": fence(BODY.lstrip()),
    "body in json": json.dumps({"code": BODY}),
    "one statement": "return x + 1",
    "generator": fence("for y in [x + 1]:\n    yield y"),
    "whole function": fence(F),
    "whole function, raw": F,
    "stub repeated": fence(HEAD + BODY),
}


@pytest.mark.parametrize("shape", CONTINUED)
def test_with_a_stub_the_body_alone_will_do(shape: str) -> None:
    code = extract_code(CONTINUED[shape], "f", HEAD)
    assert code is not None
    space: dict[str, object] = {}
    exec(code, space)  # Only texts of this file.
    f = space["f"]
    assert callable(f)
    found = f(1)
    assert (list(found) if shape == "generator" else [found]) == [2]


@pytest.mark.parametrize(
    "text", ["", "yes", "x + 1", "print(f(1))", "I would return x.", "return (x", fence("")]
)
def test_with_a_stub_text_that_returns_nothing_is_no_body(text: str) -> None:
    assert extract_code(text, "f", HEAD) is None


def test_imports_and_helpers_of_the_stub_are_there() -> None:
    whole = "def above(numbers: List[int]):\n    return [helper(n) for n in numbers]"
    for text in (fence(whole), fence("return [helper(n) for n in numbers]")):
        code = extract_code(text, "above", STUB)
        assert code is not None
        space: dict[str, object] = {}
        exec(code, space)  # Only texts of this file.
        above = space["above"]
        assert callable(above)
        assert above([1]) == [2]


PARTS = st.sampled_from(
    ["```", "```python\n", "\n", "def f(x):\n", "    return x\n", "{", '"code": "', "}", "prose ",
     "\r", "\0", "\ud800", '"""', "import ", "    ", "(", "\\", "'"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.lists(PARTS, max_size=30).map("".join)), st.sampled_from(["", HEAD]))
def test_any_text_is_read_and_what_is_found_defines_the_function(text: str, stub: str) -> None:
    code = extract_code(text, "f", stub)
    assert code is None or defines(code, "f")


UNITS = ["```", "``` ", "```\n", "```python\n", "def f(x):\n", "    return x\n", "(", '{"code":"',
         "-", "a.", "x = ", '"', '"""', "\\\n", " ", "\n", "not ", "[0]", "@a\n", "0"]  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_reading_takes_time_in_proportion_to_the_length(unit: str) -> None:
    """Processor seconds for one thing repeated; a quadratic reader needs many minutes."""
    size = 300_000
    for text in (unit * (size // len(unit)), "from " + unit * (size // len(unit))):
        start = time.process_time()
        extract_code(text, "f", HEAD)
        assert time.process_time() - start < 10
