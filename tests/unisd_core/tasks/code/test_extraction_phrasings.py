"""Answers as models write them: corrected, in parts, tried out, in a family's own form."""

from __future__ import annotations

import builtins
import contextlib
import io
import json
from typing import Any

import pytest

from unisd_core.tasks.code.extraction import extract_code, find_script

F = "def f(x):\n    return x + 1"
WRONG = "def f(x):\n    return x"
USES_G = "def f(x):\n    return g(x)"
G = "def g(x):\n    return x + 1"
WRONG_G = "def g(x):\n    return x"
ROOT = "def f(x):\n    return math.isqrt(x * x) + 1"


def fence(code: str, label: str = "python") -> str:
    return f"```{label}\n{code}\n```"


def blocks(*codes: str) -> str:
    return "Some words.\n\n".join(fence(code) + "\n" for code in codes)


CORRECTED = {
    "second block": blocks(WRONG, F),
    "third block": blocks(WRONG, "def f(x):\n    return 2 * x", F),
    "wait": f"{fence(WRONG)}\nWait, that is off by one.\n{fence(F)}",
    "usage behind the correction": blocks(WRONG, F, "print(f(1))"),
    "output behind the correction": f"{blocks(WRONG, F)}Output:\n{fence('2', '')}",
    "import of it in the last block": blocks(F, "from solution import f\nassert f(1) == 2"),
    "result of the same name": blocks(F, "f = f(1)\nprint(f)"),
    "correction that is cut off": blocks(F) + "Or:\n```python\ndef f(x):\n    return (x +",
    "correction that is not Python": blocks(F, "def f(x) return x"),
    "correction in the same block": fence(f"{WRONG}\n\n# No:\n{F}"),
    "sketch behind it": blocks(F, 'def f(x):\n    """Adds."""\n    ...'),
    "sketch that raises": blocks(F, "def f(x):\n    raise NotImplementedError"),
    "block of usage, bare function": f"{fence('from a import f')}\nwith\n\n{F}",
    "bare code, corrected": f"{WRONG}\n\nNo, that is wrong. Instead:\n\n{F}",
    "bare code, then a block": f"{WRONG}\n\nIn one block:\n{fence(F)}",
    "json twice in fences": f"{fence(json.dumps({'code': WRONG}), 'json')}\nNo:\n"
    f"{fence(json.dumps({'code': F}), 'json')}",
    "helper corrected with its function": blocks(f"{WRONG_G}\n{USES_G}", f"{G}\n{USES_G}"),
    "lambda corrects a function": blocks(WRONG, "f = lambda x: x + 1"),
}
IN_PARTS = {
    "import first": blocks("import math", ROOT),
    "import in prose": f"```python\nimport math\n```\nand\n```python\n{ROOT}\n```",
    "from import": blocks("from math import isqrt", ROOT.replace("math.", "")),
    "import of everything": blocks("from math import *", ROOT.replace("math.", "")),
    "import as": blocks("import math as m", ROOT.replace("math.", "m.")),
    "import in front of another version": blocks(f"import math\n{WRONG}", ROOT),
    "helper first": blocks(G, USES_G),
    "helper last": blocks(USES_G, G),
    "the nearest helper": blocks(WRONG_G, G, USES_G),
    "helper of the helper": blocks("import math", G.replace("1", "math.gcd(1, 1)"), USES_G),
    "class first": blocks("class A:\n    one = 1", "def f(x):\n    return x + A.one"),
    "constant first": blocks("ONE = 1", "def f(x):\n    return x + ONE"),
    "table that is filled": blocks(
        "ONES = []\nfor i in range(3):\n    ONES.append(1)", "def f(x):\n    return x + ONES[2]"
    ),
    "decorator first": blocks("from functools import cache", f"@cache\n{F}"),
    "default value first": blocks("ONE = 1", "def f(x, one=ONE):\n    return x + one"),
    "annotation first": blocks("from typing import List", "def f(x: List):\n    return x + 1"),
    "base class first": blocks(
        "class A:\n    one = 1", "class B(A): pass\ndef f(x):\n    return x + B.one"
    ),
    "bare import, bare function": f"import math\n\nThen the function.\n\n{ROOT}",
    "usage with the import": blocks("import math\nprint(math.pi)", ROOT),
    "one local name, twice": blocks("y = int(input())", "def f(x):\n    y = x\n    return y + 1"),
    "name of a builtin": blocks("sum = 7", "def f(x):\n    return sum([x, 1])"),
    "future import in the last block": blocks(
        "import math", f"from __future__ import annotations\n{ROOT}"
    ),
    "correction uses the first helper": blocks(f"{G}\n{WRONG}", USES_G),
}  # fmt: skip
TRIED_OUT = {
    "input at the end": f"{F}\n\nx = int(input())\nprint(f(x))",
    "input in a main": f"{F}\n\ndef main():\n    print(f(int(input())))\n\nmain()",
    "input behind a guard": f"{F}\n\nif __name__ == '__main__':\n    print(f(int(input())))",
    "standard input": f"import sys\n{F}\n\nfor line in sys.stdin:\n    print(f(int(line)))",
    "standard input as data": f"import sys\n{F}\ndata = sys.stdin.read().split()\nn = int(data[0])",
    "made of the input": f"{F}\nn = input()\nm = int(n)\nk = m + 1",
    "open(0)": f"{F}\nprint(f(int(open(0).read())))",
    "input in a try": f"{F}\ntry:\n    n = int(input())\nexcept ValueError:\n    raise",
    "input in a loop": f"{F}\nwhile True:\n    print(f(int(input())))",
    "input first": f"x = input('x? ')\n{F}",
    "renamed input": f"import sys\ninput = sys.stdin.readline\n{F}\nn = int(input())",
    "wrong assert": f"{F}\n\nassert f(1) == 3",
    "asserts in a loop": f"{F}\nfor x, y in [(1, 3)]:\n    assert f(x) == y",
    "wrong number of arguments": f"{F}\nprint(f(1, 2))",
    "result kept": f"{F}\nresult = f(1, 2)\nprint(result)",
    "result used": f"{F}\nresult = f()\ndouble = result * 2",
    "tests of its own": f"{F}\ndef test_f():\n    assert f(1) == 3\ntest_f()",
    "unittest": f"import unittest\n{F}\nclass T(unittest.TestCase):\n"
    "    def test(self):\n        self.assertEqual(f(1), 2)\nunittest.main()",
    "exit": f"import sys\n{F}\nsys.exit(f(1))",
    "raised exit": f"{F}\nraise SystemExit(1)",
    "exit in a main": f"def main():\n    exit(3)\n{F}\nmain()",
    "example that never ends": f"{F}\nwhile f(1):\n    pass",
    "behind a semicolon": f"y = 1; n = input()\n{F}",
    "cut off in the example": f"```python\n{F}\n\nprint(f(1",
    "memory is kept": "memo = {}\ndef f(x):\n    memo[x] = x + 1\n    return memo[x]\n"
    "print(f(1, 2))",
    "memory is filled": "memo = {}\ndef f(x):\n    return memo[x]\nfor i in range(3):\n"
    "    memo[i] = i + 1\n    print(i)",
    "cached": f"from functools import cache\n{F}\nf = cache(f)\nassert f(1) == 3",
    "attribute of the function": "def f(x):\n    return x + f.one\nf.one = 1\nprint(f())",
    "setting": f"import sys\nsys.setrecursionlimit(5000)\n{F}\nprint(f())",
    "table made by a helper": f"{G}\nTABLE = [g(i) for i in range(5)]\n"
    "def f(x):\n    return TABLE[x]\nprint(f(9))",
    "set up by a call": "ONES = []\ndef fill():\n    ONES.append(1)\nfill()\n"
    "def f(x):\n    return x + ONES[0]\nassert f(1) == 3",
    "class made of a trial": f"class A: pass\n{F}\na = A()\na.y = f()\nprint(a)",
    "decorator made by a call": "def make():\n    return lambda g: g\nkeep = make()\n@keep\n"
    f"{F}\nprint(f())",
    "input in a class body that is needed": f"{F}\nclass App:\n    def run(self):\n"
    "        return f(input())\nApp().run()",
}  # fmt: skip
FAMILIES = {
    "thought, then answer": f"<think>\nMaybe {WRONG}?\n</think>\n\n{fence(F)}",
    "thought with a block": f"<think>\n{fence(WRONG)}\n</think>\n{fence(F)}",
    "thought behind the better block": f"<think>{fence(F)} no</think>{fence(F)}",
    "thought opened by the template": f"{fence(WRONG)}\n</think>\n\n{fence(F)}",
    "thought in brackets": f"[THINK]{fence(WRONG)}[/THINK]{fence(F)}",
    "empty thought": f"<think>\n\n</think>\n\n{F}",
    "tags in the code": fence(f'TAG = "<think>"\n{F}'),
    "code llama": f"[PYTHON]\n{F}\n[/PYTHON]\n[TESTS]\nassert f(1) == 2\n[/TESTS]",
    "few shots": f"[BEGIN]\n{F}\n[DONE]",
    "answer tags": f"<answer>\n{F}\n</answer>",
    "answer tags around a fence": f"<answer>\n{fence(F)}\n</answer>",
    "fence glued to tags": f"<answer>```python\n{F}\n```</answer>",
    "solution tags": f"The code:\n<solution>\n{F}\n</solution>\nDone.",
    "tags, corrected": f"<code>\n{WRONG}\n</code>\nNo:\n<code>\n{F}\n</code>",
    "html": f'<pre><code class="language-python">{F}</code></pre>',
    "python tag": f"<|python_tag|>{F}<|eom_id|>",
    "end of text": f"{F}\n<|endoftext|>",
    "end of sentence": f"{F}</s>",
    "tool call": "<tool_call>\n"
    + json.dumps({"name": "python", "arguments": {"code": F}})
    + "\n</tool_call>",
    "parameters": json.dumps({"name": "python", "parameters": {"code": F}}),
    "latex": f"\\begin{{lstlisting}}[language=Python]\n{F}\n\\end{{lstlisting}}",
    "verbatim": f"\\begin{{verbatim}}\n{F}\n\\end{{verbatim}}",
    "tildes": f"~~~python\n{F}\n~~~",
    "tildes around backticks": f"~~~~markdown\n{fence(F)}\n~~~~",
    "four backticks around three": f"````markdown\n{fence(F)}\n````",
    "windows lines": blocks("import math", ROOT).replace("\n", "\r\n"),
    "tabs": fence("def f(x):\n\treturn x + 1"),
    "console": fence(">>> def f(x):\n...     return x + 1\n...\n>>> f(1)\n2"),
    "console, bare": ">>> def f(x):\n...     return x + 1\n>>> f(1)\n2",
    "no-break spaces": fence("def f(x):\n\u00a0\u00a0\u00a0\u00a0return x + 1"),
    "byte-order mark": f"\ufeff{F}",
    "zero width space": fence(f"\u200b{F}"),
    "open fence and prose": f"```python\n{F}\n\nThis adds one.",
    "fence at the margin of a docstring": fence(
        'def f(x):\n    """Adds.\n\n```\nf(1)\n```\n"""\n    return x + 1'
    ),
    "heading and list": f"## Solution\n\n1. Add one.\n\n{fence(F)}\n\n- Linear time.",
    "quoted tests behind": f"{fence(F)}\n\nTests:\n```\nassert f(1) == 2\n```",
}  # fmt: skip
UNREADABLE = {
    "thought that never ends": f"<think>\n{fence(F)}",
    "thought again": f"<think>a</think>{fence(F)}<think>wait",
    "only in the thought": f"<think>{fence(F)}</think>I am done.",
    "thought of the template that never ends": f"[THINK]{F}",
    "import alone": blocks("import math"),
    "helper alone": blocks(G),
    "call of it alone": blocks("print(f(1))"),
    "other name": blocks(F.replace("f(", "function(")),
    "tool call without code": json.dumps({"name": "f", "arguments": {"x": 1}}),
    "cut off": "<answer>\ndef f(x):\n    return (",
}
WRONG_ANSWERS = {
    "last is wrong": blocks(F, WRONG),
    "wrong behind a thought": f"<think>{fence(F)}</think>{fence(WRONG)}",
    "wrong helper is nearest": blocks(G, WRONG_G, USES_G),
    "import is missing": blocks(ROOT),
    "helper is missing": blocks(USES_G),
    "input inside": blocks("def f(x):\n    return int(input()) + 1"),
    "value of the input is needed": blocks("n = int(input())\ndef f(x):\n    return x + n"),
    "name is lost": blocks(f"{F}\ndel f"),
}


def outcome(code: str) -> Any:
    """What f(1) gives, or the name of the error; the standard input is empty."""
    space: dict[str, Any] = {"__name__": "program", "input": no_input}
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(code, space)  # Only texts of this file.
            return space["f"](1)
    except Exception as error:
        return type(error).__name__


def no_input(prompt: str = "") -> str:
    raise EOFError


@pytest.mark.parametrize("name", [*CORRECTED, *IN_PARTS, *TRIED_OUT, *FAMILIES])
def test_the_program_that_is_meant_is_found(name: str) -> None:
    texts = {**CORRECTED, **IN_PARTS, **TRIED_OUT, **FAMILIES}
    text = texts[name] if name not in TRIED_OUT or "```" in texts[name] else fence(texts[name])
    code = extract_code(text, "f")
    assert code is not None
    assert outcome(code) == 2, code


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_holds_no_program_is_unread(name: str) -> None:
    assert extract_code(UNREADABLE[name], "f") is None


@pytest.mark.parametrize("name", WRONG_ANSWERS)
def test_a_wrong_program_stays_wrong(name: str) -> None:
    code = extract_code(WRONG_ANSWERS[name], "f")
    assert code is not None
    assert outcome(code) != 2, code


def test_other_names_of_the_tests_come_from_other_blocks() -> None:
    text = blocks("ONE = 1\nclass A: pass", G.replace("1", "ONE"), F)
    space: dict[str, Any] = {}
    code = extract_code(text, "f", also=["g", "A"])
    assert code is not None
    exec(code, space)
    assert space["g"](1) == 2 and "A" in space


@pytest.mark.parametrize(
    "text", [fence(f"from __future__ import annotations\n{F}"), blocks("import os", F)]
)
def test_what_stands_in_front_of_a_stub_stays_python(text: str) -> None:
    code = extract_code(text, "f", 'def f(x):\n    """One more."""\n')
    assert code is not None
    assert outcome(code) == 2


READ = "n = int(input())\nprint(n + 1)"
SCRIPTS = {
    "one block": fence(READ),
    "bare": READ,
    "corrected": blocks("print(int(input()))", READ),
    "example of the output": f"{fence(READ)}\nFor 1 it prints\n{fence('2', '')}",
    "example of a call": f"{fence(READ)}\n{fence('print(1 + 1)')}",
    "import first": blocks("import math", "n = int(input())\nprint(math.gcd(n, 0) + 1)"),
    "function first": blocks(F, "print(f(int(input())))"),
    "main": fence(
        f"{F}\ndef main():\n    print(f(int(input())))\nif __name__ == '__main__':\n    main()"
    ),
    "main and its call apart": blocks("def main():\n    print(int(input()) + 1)", "main()"),
    "standard input": fence("import sys\nprint(int(sys.stdin.readline()) + 1)"),
    "thought": f"<think>{fence('print(input())')}</think>{fence(READ)}",
    "prose": f"Read it and add.\n\n{fence(READ)}\n\nThat is all.",
}  # fmt: skip


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_found_whole(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = find_script(SCRIPTS[name])
    assert found is not None
    monkeypatch.setattr("sys.stdin", io.StringIO("1\n"))
    exec(found.code, {"__name__": "__main__", "__builtins__": builtins})
    assert capsys.readouterr().out == "2\n"


@pytest.mark.parametrize("text", ["", "prose", fence("x = 1"), f"<think>{fence(READ)}", fence(F)])
def test_what_neither_reads_nor_prints_is_no_script(text: str) -> None:
    assert find_script(text) is None
