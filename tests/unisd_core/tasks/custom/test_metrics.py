from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unisd_core.tasks.custom.rows import task_of
from unisd_core.common.errors import UserError
from unisd_core.tasks.base import Task
from unisd_core.tasks.custom.json_call import JsonCall
from unisd_core.tasks.custom.metrics import Choice, ExactMatch, Metric, Numeric
from unisd_core.tasks.row import Row


def wrong_golds(task: Task, row: Row, seeds: int = 40) -> set[str | None]:
    found = [task.wrong_reference(row, random.Random(seed)) for seed in range(seeds)]
    for wrong in found:
        if wrong is not None:
            assert not task.score(row, wrong.reference).correct
            assert task.parseable(row, wrong.reference)
            assert (wrong.uid, wrong.prompt, wrong.details) == (row.uid, row.prompt, row.details)
            assert wrong.hint == ""
    return {wrong and wrong.reference for wrong in found}


def outcomes(task: Task, row: Row, texts: Sequence[str]) -> list[bool]:
    return [score.correct for score in task.score_many([row] * len(texts), list(texts))]


def test_exact_match_compares_the_whole_text(tmp_path: Path) -> None:
    task, (oslo, bergen, _) = task_of(
        tmp_path,
        "exact_match",
        {"prompt": "1", "reference": "in  Oslo", "hint": "h"},
        {"prompt": "2", "reference": "in Bergen"},
        {"prompt": "3", "reference": "two\nlines"},
    )
    assert outcomes(task, oslo, ["in Oslo", " in\nOslo ", "in Oslo.", "In Oslo", ""]) == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert wrong_golds(task, oslo) == {"in Bergen"}
    assert wrong_golds(task, bergen) == {"in  Oslo"}


def test_exact_match_compares_the_last_line_with_an_answer(tmp_path: Path) -> None:
    task, (row, *_) = task_of(
        tmp_path,
        "exact_match",
        {"prompt": "1", "reference": "It is cold.\nAnswer: Oslo", "answer": "Oslo"},
        {"prompt": "2", "reference": "It is warm.\nAnswer: Rome", "answer": "Rome"},
        {"prompt": "3", "reference": "It is wet.\nAnswer: Oslo", "answer": "Oslo"},
    )
    texts = ["Oslo", "So.\n**Answer:** Oslo\n", "Oslo\nAnswer: Rome", "Answer: Oslo it is"]
    assert outcomes(task, row, texts) == [True, True, False, False]
    assert wrong_golds(task, row) == {"It is warm.\nAnswer: Rome"}


def test_exact_match_reads_what_follows_a_thought(tmp_path: Path) -> None:
    task, (whole, line) = task_of(
        tmp_path,
        "exact_match",
        {"prompt": "1", "reference": "<think>North?</think>\nOslo"},
        {"prompt": "2", "reference": "It is cold.\nAnswer: Oslo", "answer": "Oslo"},
    )
    texts = [
        "Oslo", "<think>Rome</think>Oslo", "Rome</think>\n\nOslo", "[THINK]Rome[/THINK] Oslo",
        "<think>Oslo</think>Rome", "<think>Oslo", "<think>So\nOslo", "Oslo<think>", "</think>",
    ]  # fmt: skip
    for row in (whole, line):
        assert outcomes(task, row, texts) == [True] * 4 + [False] * 5
    assert not task.parseable(whole, "<think>Oslo")
    for thought in ("<think>Oslo", "<think>Oslo</think>"):
        with pytest.raises(UserError, match=r"train\.jsonl:1: the answer holds no text but a thou"):
            task_of(tmp_path, "exact_match", {"prompt": "1", "reference": thought})


def test_the_answer_of_a_row_that_asks_the_same_is_not_taken_for_wrong(tmp_path: Path) -> None:
    task, (row, *_) = task_of(
        tmp_path,
        "exact_match",
        {"prompt": "A town in Norway?", "reference": "Oslo"},
        {"prompt": "a  town in norway?", "reference": "Bergen"},
        {"prompt": "A town in Italy?", "reference": "Rome"},
    )
    assert wrong_golds(task, row) == {"Rome"}


def test_no_other_reference_that_is_wrong(tmp_path: Path) -> None:
    rows = [{"prompt": str(n), "reference": "yes"} for n in range(3)]
    task, (row, *_) = task_of(tmp_path, "exact_match", *rows)
    assert wrong_golds(task, row) == {None}


def test_choices_come_from_their_column_or_from_the_prompt(tmp_path: Path) -> None:
    task, (listed, column, neither) = task_of(
        tmp_path,
        "choice",
        {"prompt": "Which?\nA. x\nB) y\n(C) z\nD: w", "reference": "It is B.\nAnswer: B"},
        {"prompt": "Which?", "reference": "Answer: A", "choices": ["x", "y"]},
        {"prompt": "Which of A or B?", "reference": "C"},
    )
    assert [row.details["letters"] for row in (listed, column, neither)] == ["ABCD", "AB", "ABC"]
    assert outcomes(task, listed, ["B", "Answer: (B)", "Answer: D", "?"]) == [
        True, True, False, False,
    ]  # fmt: skip
    assert not task.parseable(column, "Answer: C")
    assert wrong_golds(task, listed) == {f"It is B.\nAnswer: {x}" for x in "ACD"}
    assert wrong_golds(task, column) == {"Answer: B"}


def test_texts_of_the_choices_tell_the_letter_from_the_article(tmp_path: Path) -> None:
    task, rows = task_of(
        tmp_path,
        "choice",
        {"prompt": "Pumps?", "reference": "Answer: A heart", "choices": ["heart", "lens"]},
        {"prompt": "Bends?\nA. heart\nB. lens", "reference": "A lens bends, so B."},
    )
    for row in rows:
        assert task.score(row, "Answer: A heart").extracted
        assert not task.score(row, "Answer: A lens").extracted
    assert wrong_golds(task, rows[0]) == {"Answer: B heart"}
    assert wrong_golds(task, rows[1]) == {"A lens bends, so A."}


def test_a_wrong_letter_replaces_the_letter_not_the_article(tmp_path: Path) -> None:
    reference = "Answer: A\n\nExplanation: A heart pumps."
    row = {"prompt": "Pumps?", "reference": reference, "choices": ["heart", "lens"]}
    task, (only,) = task_of(tmp_path, "choice", row)
    assert wrong_golds(task, only) == {"Answer: B\n\nExplanation: A heart pumps."}


def test_numbers_are_compared_by_value(tmp_path: Path) -> None:
    task, (plain, stated) = task_of(
        tmp_path,
        "numeric",
        {"prompt": "1", "reference": "It costs $1,200."},
        {"prompt": "2", "reference": "6 * 7 = 42\n#### 42", "answer": "42"},
    )
    assert outcomes(task, plain, ["1200", "#### 1200.00", "1.200,00", "12"]) == [
        True, True, True, False,
    ]  # fmt: skip
    assert wrong_golds(task, plain) == {
        f"It costs ${x}." for x in ("1,201", "1,199", "1,202", "2,400")
    }
    assert wrong_golds(task, stated) == {f"6 * 7 = {x}\n#### {x}" for x in (41, 43, 44, 84)}


def test_cents_are_compared_with_dollars(tmp_path: Path) -> None:
    task, (dollars, cents) = task_of(
        tmp_path,
        "numeric",
        {"prompt": "1", "reference": "It costs $0.50."},
        {"prompt": "2", "reference": "50", "answer": "50"},
    )
    texts = ["50¢", "0.50", "$0.50", "50 cents", "50"]
    assert outcomes(task, dollars, texts) == [True, True, True, True, False]
    assert outcomes(task, cents, texts) == [True, False, False, True, True]


CALL = {"name": "add", "arguments": {"a": 1, "unit": "kg"}}
OTHER = {"name": "drop", "arguments": {"unit": "lb"}}


def test_calls_are_compared_strictly(tmp_path: Path) -> None:
    rows = [
        {"prompt": "1", "reference": json.dumps(CALL)},
        {"prompt": "2", "reference": json.dumps([CALL, OTHER], separators=(",", ":"))},
    ]
    task, (one, two) = task_of(tmp_path, "json_call", *rows)
    fine = [
        json.dumps(CALL, indent=2),
        f"```json\n{json.dumps(CALL)}\n```",
        '{"action": "add", "arguments": {"unit": "kg", "a": 1}}',
    ]
    bad = [
        '{"name": "add", "arguments": {"a": "1", "unit": "kg"}}',
        '{"name": "add", "arguments": {"a": 1}}',
        '{"name": "add", "arguments": {"a": 1, "unit": "kg", "b": 2}}',
        '{"name": "Add", "arguments": {"a": 1, "unit": "kg"}}',
        json.dumps([CALL, CALL]),
        json.dumps(CALL)[:-1],
        "add",
    ]
    assert outcomes(task, one, fine + bad) == [True] * 3 + [False] * 7
    assert outcomes(task, two, [json.dumps([CALL, OTHER]), json.dumps([OTHER, CALL])]) == [
        True, False,
    ]  # fmt: skip


def test_a_wrong_call_keeps_the_form_of_the_reference(tmp_path: Path) -> None:
    compact = json.dumps([CALL, OTHER], separators=(",", ":"))
    rows = [
        {"prompt": "1", "reference": json.dumps(CALL)},
        {"prompt": "2", "reference": f"So:\n{compact}"},
        {"prompt": "3", "reference": json.dumps({"name": "stop", "arguments": {}})},
    ]
    task, (one, two, three) = task_of(tmp_path, "json_call", *rows)
    found = {json.dumps(json.loads(gold or "")) for gold in wrong_golds(task, one, 200)}
    changes: list[dict[str, Any]] = [
        {**CALL, "name": "drop"}, {**CALL, "name": "stop"},
        *({**CALL, "arguments": {"a": 1 + step, "unit": "kg"}} for step in (1, 2, 10)),
        {**CALL, "arguments": {"a": 1, "unit": "lb"}},
        {**CALL, "arguments": {"a": 1}}, {**CALL, "arguments": {"unit": "kg"}},
    ]  # fmt: skip
    assert found == {json.dumps(change) for change in changes}
    for gold in wrong_golds(task, two):
        head, _, calls = (gold or "").partition("\n")
        assert head == "So:"
        assert json.dumps(json.loads(calls), separators=(",", ":")) == calls
    assert wrong_golds(task, three) == {
        json.dumps({"name": name, "arguments": {}}) for name in ("add", "drop")
    }


def test_a_reference_may_have_any_form_of_a_call(tmp_path: Path) -> None:
    forms = [
        '{"name": "add", "parameters": {"a": 1, "unit": "kg"}}',
        '[add(a=1, unit="kg")]',
        "<function=add><parameter=a>1</parameter><parameter=unit>kg</parameter></function>",
        f"[TOOL_CALLS][{json.dumps(CALL)}]",
        f"<think>Weights.</think>\n\n<tool_call>\n{json.dumps(CALL)}\n</tool_call>",
    ]
    rows = [{"prompt": str(n), "reference": form} for n, form in enumerate(forms)]
    task, found = task_of(tmp_path, "json_call", *rows)
    for row in found:
        assert outcomes(task, row, forms) == [True] * len(forms)
        assert outcomes(task, row, [form.replace("kg", "lb") for form in forms]) == [False] * 5


@pytest.mark.parametrize(
    ("reference", "wrong"),
    [
        ('{"name": "f", "parameters": {"a": true}}', '{"name": "f", "parameters": {"a": false}}'),
        (
            '{"type": "function", "function": {"name": "f", "arguments": "{\\"a\\":true}"}}',
            '{"type": "function", "function": {"name": "f", "arguments": "{\\"a\\":false}"}}',
        ),
        (
            '{"tool_calls": [{"name": "f", "arguments": {"a": true}}]}',
            '{"tool_calls": [{"name": "f", "arguments": {"a": false}}]}',
        ),
        (
            '<tool_call>\n{"name": "f", "arguments": {"a": true}}\n</tool_call>',
            '<tool_call>\n{"name": "f", "arguments": {"a": false}}\n</tool_call>',
        ),
        (
            '[TOOL_CALLS][{"name": "f", "arguments": {"a": true}}]',
            '[TOOL_CALLS][{"name": "f", "arguments": {"a": false}}]',
        ),
        (
            '<think>{"a": 1}</think>{"name":"f","arguments":{"a":true}}',
            '<think>{"a": 1}</think>{"name":"f","arguments":{"a":false}}',
        ),
        (
            '{\n\t"name": "f",\n\t"arguments": {\n\t\t"a": true\n\t}\n}',
            '{\n\t"name": "f",\n\t"arguments": {\n\t\t"a": false\n\t}\n}',
        ),
        ("[f(a=True)]", None),
        ('f{"a": true}', None),
        ('f{"name": "g"}', None),
        ("<function=f><parameter=a>true</parameter></function>", None),
        ('{ "name": "f", "arguments": {"a": true} }', None),
        ('{"name": "f", "arguments": "{ \\"a\\": true }"}', None),
    ],
)
def test_a_wrong_call_has_the_layout_of_the_reference_or_is_not_made(
    tmp_path: Path, reference: str, wrong: str | None
) -> None:
    rows = [{"prompt": str(n), "reference": reference} for n in range(3)]
    task, (row, *_) = task_of(tmp_path, "json_call", *rows)
    empty = reference.replace('"a": true', "").replace('"a":true', "")
    empty = empty.replace('\\"a\\":true', "").replace("{\n\t\t\n\t}", "{}")
    assert wrong_golds(task, row) == ({None} if wrong is None else {wrong, empty})


DOUBLE = "def double(x):\n    return x * 2"
TESTS = "assert double(2) == 4\nassert double(5) == 10"


def test_programs_are_run_with_their_tests(tmp_path: Path) -> None:
    rows = [
        {"prompt": "1", "reference": f"```python\n{DOUBLE}\n```", "tests": TESTS},
        {"prompt": "2", "reference": DOUBLE, "tests": TESTS},
    ]
    task, (fenced, plain) = task_of(tmp_path, "python_tests", *rows)
    texts = [
        "Sure:\n```python\ndef double(n):\n    return n + n\n```",
        "def double(n):\n    return n * n",
        "def twice(n):\n    return n + n",
        "no idea",
    ]
    scores = task.score_many([plain] * 4, texts)
    assert [score.correct for score in scores] == [True, False, False, False]
    assert [score.extracted for score in scores] == [True, True, False, False]
    assert [task.parseable(plain, text) for text in texts] == [True, True, False, False]
    for gold in wrong_golds(task, fenced, 4):
        assert gold is not None
        assert gold.startswith("```python\ndef double(x):\n")
        assert gold.endswith("\n```")


@pytest.mark.parametrize(
    ("metric", "answer"),
    [
        (ExactMatch(), {"text": "x", "last_line": True}),
        (Choice(), {"letter": "A", "letters": "ABC", "options": ["heart", "lens", "home"]}),
        (Numeric(), {"number": 1.0}),
        (JsonCall(), {"calls": [["f", {"a": [1, {"b": None}]}]]}),
    ],
)
@given(text=st.text() | st.text(alphabet='{}[]":,1aA#\n answer'))
def test_any_text_is_scored_without_raising(
    metric: Metric, answer: dict[str, Any], text: str
) -> None:
    score = metric.score(answer, text)
    assert score.extracted or not score.correct
