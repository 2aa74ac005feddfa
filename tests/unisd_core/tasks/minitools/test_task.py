import json
import random
import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unisd_core.tasks.minitools.catalogue import DOMAIN_OF, TOOLS, UNSEEN
from unisd_core.tasks.reading.call import Call
from unisd_core.tasks.reading.tool_calls import write_calls
from unisd_core.tasks.registry import load_task
from unisd_core.tasks.row import Row

SIZES = {"train": 2000, "seen": 300, "unseen": 200}
TASK = load_task("minitools", None, 0)
ROWS = {split: TASK.rows(split) for split in SIZES}
EVERY = [row for rows in ROWS.values() for row in rows]


def actions(row: Row) -> set[str]:
    return {call["action"] for call in row.details["calls"]}


def test_sizes_and_uids() -> None:
    assert TASK.test_splits == ("seen", "unseen")
    for split, size in SIZES.items():
        assert [row.uid for row in ROWS[split]] == [
            f"minitools/{split}/{i:05d}" for i in range(size)
        ]


def test_the_same_seed_gives_the_same_rows_and_another_seed_others() -> None:
    again = load_task("minitools", "ignored", 0)
    other = load_task("minitools", None, 1)
    for split in SIZES:
        assert again.rows(split) == ROWS[split]
        same = {r.prompt for r in other.rows(split)} & {r.prompt for r in ROWS[split]}
        assert len(same) < SIZES[split] / 4


def test_no_prompt_and_no_request_occurs_twice() -> None:
    assert len({row.prompt for row in EVERY}) == len(EVERY)
    assert len({row.details["request"] for row in EVERY}) == len(EVERY)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_unseen_tools_are_nowhere_in_training(seed: int) -> None:
    task = load_task("minitools", None, seed)
    rng = random.Random(seed)
    for split in ("train", "seen"):
        for row in task.rows(split):
            wrong = task.wrong_reference(row, rng)
            assert wrong is not None
            text = "\n".join((row.prompt, row.reference, row.hint, wrong.reference, wrong.hint))
            assert not UNSEEN & set(re.findall(r"\w+", text))
    unseen = task.rows("unseen")
    assert all(actions(row) <= UNSEEN for row in unseen)
    assert set().union(*map(actions, unseen)) == UNSEEN
    trained = set().union(*map(actions, task.rows("train")))
    assert trained == set(TOOLS) - UNSEEN
    assert set().union(*map(actions, task.rows("seen"))) == trained


def test_tools_are_met_about_equally_often() -> None:
    counts = Counter(row.details["calls"][0]["action"] for row in ROWS["train"])
    assert min(counts.values()) >= 35
    assert max(counts.values()) <= 65


def test_kinds_of_rows() -> None:
    for rows in ROWS.values():
        two = [row for row in rows if len(row.details["calls"]) == 2]
        assert len(two) / len(rows) == pytest.approx(0.1)
        shown = sum(len(row.details["tools"]) == 2 for row in rows) / len(rows)
        assert 0.15 < shown < 0.35
    optional = [
        p.name in call["arguments"]
        for row in ROWS["train"]
        for call in row.details["calls"]
        for p in TOOLS[call["action"]].parameters
        if p.optional
    ]
    assert 0.2 < sum(optional) / len(optional) < 0.45


def test_documentation_shows_the_needed_tools_and_distractors_of_the_domain() -> None:
    first = Counter()
    for row in EVERY:
        shown = row.details["tools"]
        documented = row.prompt.split("\nReply")[0].splitlines()[1:]
        assert documented == [TOOLS[name].documentation for name in shown]
        assert actions(row) <= set(shown)
        for name in set(shown) - actions(row):
            assert DOMAIN_OF[name] == row.category
        if len(shown) == 2 and len(actions(row)) == 1:
            first[shown[0] in actions(row)] += 1
    # The needed tool is listed first as often as second.
    assert 0.4 < first[True] / first.total() < 0.6


def said(value: Any, request: str) -> bool:
    """Whether ``request`` holds ``value``; words for booleans are checked with the catalogue."""
    if isinstance(value, bool):
        return True
    text = str(value)
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text) and text not in request:
        year, month, day = text.split("-")
        return (
            re.search(rf"[A-Z][a-z]+ {int(day)}, {year}", request) is not None and month in MONTHS
        )
    return re.search(rf"(?<![\w.]){re.escape(text)}(?![\w]|\.\d)", request) is not None


MONTHS = {f"{month:02d}" for month in range(1, 13)}


def test_the_request_holds_every_value() -> None:
    for row in EVERY:
        assert row.prompt.endswith(f"\nRequest: {row.details['request']}")
        for call in row.details["calls"]:
            for value in call["arguments"].values():
                assert said(value, row.details["request"]), (row.details["request"], value)


def test_a_request_determines_its_call() -> None:
    """The same words never stand for two calls, over many more rows than one run uses."""
    call_of: dict[tuple[str, str], str] = {}
    for seed in (0, 1):
        for split in SIZES:
            for row in load_task("minitools", None, seed).rows(split):
                for tool in actions(row):
                    key = (tool, row.details["request"])
                    assert call_of.setdefault(key, row.reference) == row.reference
    assert len(call_of) > 4000


def test_arguments_are_valid_for_the_tool() -> None:
    kinds = {
        "string": str, "integer": int, "number": float, "boolean": bool, "enum": str,
        "date": str, "time": str,
    }  # fmt: skip
    for row in EVERY:
        for call in row.details["calls"]:
            parameters = {p.name: p for p in TOOLS[call["action"]].parameters}
            assert {n for n, p in parameters.items() if not p.optional} <= set(call["arguments"])
            for name, value in call["arguments"].items():
                assert type(value) is kinds[parameters[name].kind]
                if parameters[name].kind == "enum":
                    assert value in parameters[name].values


def test_gold_scores_correct_and_survives_storage_as_json() -> None:
    for row in EVERY:
        for completion in (row.reference, f"Thought: {row.hint}\n{row.reference}\n"):
            score = TASK.score(row, completion)
            assert (score.correct, score.extracted) == (True, True)
            assert score.parts == {"action": 1.0, "arguments": 1.0}
        stored = Row(**{**vars(row), "details": json.loads(json.dumps(row.details))})
        assert TASK.score(stored, row.reference).correct


def test_gold_of_another_row_is_wrong() -> None:
    for row, other in zip(ROWS["train"], ROWS["train"][1:], strict=False):
        assert TASK.score(row, other.reference).correct == (row.reference == other.reference)


ROW = Row(
    "p",
    'Action: set_heat\nAction Input: {"room": "office", "degrees": 18.5}',
    uid="u",
    details={
        "request": "r",
        "calls": [{"action": "set_heat", "arguments": {"room": "office", "degrees": 18.5}}],
        "tools": ["set_heat"],
    },
    retrieval_text="r",
)


@pytest.mark.parametrize(
    ("completion", "correct", "action", "arguments"),
    [
        (ROW.reference, True, 1.0, 1.0),
        ('Action: set_heat\nAction Input: {"degrees": 18.5, "room": "office"}', True, 1.0, 1.0),
        (f"{ROW.reference}\nDone.", False, 1.0, 1.0),
        (f"{ROW.reference}\n{ROW.reference}", False, 0.0, 0.5),
        ('Action: set_lamp\nAction Input: {"room": "office", "degrees": 18.5}', False, 0.0, 1.0),
        ('Action: set_heat\nAction Input: {"room": "office", "degrees": "18.5"}', False, 1.0, 0.5),
        ('Action: set_heat\nAction Input: {"room": "office"}', False, 1.0, 0.5),
        ("I would heat the office.", False, 0.0, 0.0),
    ],
)
def test_scores(completion: str, correct: bool, action: float, arguments: float) -> None:
    score = TASK.score(ROW, completion)
    assert score.correct is correct
    assert score.parts == {"action": action, "arguments": arguments}
    assert score.extracted == ("Action:" in completion)


@given(st.text())
@settings(max_examples=50)
def test_any_text_is_scored(text: str) -> None:
    assert not TASK.score(ROW, text).correct


def test_wrong_references_never_score_and_keep_the_template() -> None:
    rng = random.Random(0)
    changed = Counter()
    for row in EVERY:
        for _ in range(3):
            wrong = TASK.wrong_reference(row, rng)
            assert wrong is not None
            score = TASK.score(row, wrong.reference)
            assert score.extracted
            assert not score.correct
            assert (wrong.uid, wrong.prompt, wrong.details) == (row.uid, row.prompt, row.details)
            assert wrong.reference.count("\n") == row.reference.count("\n")
            assert wrong.hint != row.hint
            assert wrong.hint.startswith("The request needs ")
            changed["tool" if not score.parts["action"] else "arguments"] += 1
    assert 0.2 < changed["tool"] / changed.total() < 0.3


def test_wrong_references_follow_the_random_source() -> None:
    row = ROWS["train"][1]
    first = [TASK.wrong_reference(row, random.Random(i)) for i in range(20)]
    assert first == [TASK.wrong_reference(row, random.Random(i)) for i in range(20)]
    assert len({wrong.reference for wrong in first if wrong}) > 3


def test_demonstration_and_hint() -> None:
    for row in EVERY:
        shown = TASK.demonstration(row)
        assert shown == f"Request: {row.details['request']}\n{row.reference}"
        assert "Tools:" not in shown
        assert row.hint.endswith(".")
        assert all(name in row.hint for name in actions(row))
        calls = [Call(c["action"], c["arguments"]) for c in row.details["calls"]]
        assert row.reference == write_calls(calls)


def test_prompt_and_gold_stay_short(smollm2_tokenizer: Any) -> None:
    for row in EVERY:
        turn = [{"role": "user", "content": row.prompt}]
        text = smollm2_tokenizer.apply_chat_template(
            turn, tokenize=False, add_generation_prompt=True
        )
        assert len(smollm2_tokenizer(text, add_special_tokens=False).input_ids) < 130, row.prompt
        assert len(smollm2_tokenizer(row.reference, add_special_tokens=False).input_ids) < 60, (
            row.reference
        )


def test_short_by_characters_where_no_tokenizer_is_at_hand() -> None:
    assert max(len(row.prompt) for row in EVERY) < 330
    assert max(len(row.reference) for row in EVERY) < 170
