from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.unisd_core.tasks.toolalpaca.folder import FIND, QUESTION, call, task_of
from unisd_core.tasks.reading.call import Call
from unisd_core.tasks.reading.tool_calls import find_calls, write_calls
from unisd_core.tasks.toolalpaca.corruption import RULES, corrupt
from unisd_core.tasks.toolalpaca.documentation import documented_tools
from unisd_core.tasks.toolalpaca.react import plain_thought, retell, write_reference


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_makes_a_wrong_answer(tmp_path: Path, rule: str) -> None:
    task, found = task_of(tmp_path, FIND, call("sinkBoat", {"boatId": 4, "loudly": True}))
    right = list(find_calls(found.reference).calls)
    tools = documented_tools(found.prompt)
    assert list(tools) == ["findBoat", "sinkBoat", "listHarbours"]
    for seed in range(30):
        wrong = corrupt(rule, right, tools, QUESTION, random.Random(seed))
        assert wrong is not None
        assert len(wrong) - len(right) == (rule == "call")
        assert all(one.action in tools for one in wrong)
        names = [one.action for one in wrong[:2]] == [one.action for one in right]
        assert names == (rule != "action")
        count = sum(len(one.arguments) for one in wrong[:2]) - 5
        assert count == {"drop": -1, "extra": 1}.get(rule, 0)
        score = task.score(found, write_calls(wrong))
        assert score.extracted
        assert not score.correct


def test_rules_that_find_nothing_to_change(tmp_path: Path) -> None:
    rng = random.Random(0)
    bare, open_value = [Call("f", {})], [Call("f", {"a": "${a from g}"})]
    for rule in ("value", "drop"):
        assert corrupt(rule, bare, {"f": {}}, "", rng) is None
    assert corrupt("action", bare, {"f": {}}, "", rng) is None
    assert corrupt("value", open_value, {"f": {}}, "", rng) is None
    assert corrupt("drop", open_value, {"f": {}}, "", rng) == bare
    assert corrupt("call", bare, {}, "", rng) == [*bare, *bare]


def test_a_wrong_reference_keeps_template_and_changes_its_thought(tmp_path: Path) -> None:
    task, found = task_of(tmp_path)
    golds = set()
    for seed in range(40):
        wrong = task.wrong_reference(found, random.Random(seed))
        assert wrong is not None
        calls = find_calls(wrong.reference).calls
        assert wrong.reference == write_reference(plain_thought(calls), calls)
        assert (wrong.prompt, wrong.details, wrong.uid) == (found.prompt, found.details, found.uid)
        assert wrong.hint == plain_thought(calls)
        assert wrong == task.wrong_reference(found, random.Random(seed))
        golds.add(wrong.reference)
    assert len(golds) > 10


def test_a_published_thought_names_what_the_wrong_calls_do() -> None:
    right = [Call("findBoat", {"harbour": "Kiel", "length": 1})]
    wrong = [Call("sinkBoat", {"harbour": r"B\1a"}), Call("listHarbours", {})]
    thought = "I use findBoat in Kiel, 1 of 11."
    assert retell(thought, right, wrong) == r"I use sinkBoat in B\1a, 1 of 11."
    assert retell(thought, right, [Call("findBoat", {"length": 2})]) == (
        "I use findBoat in Kiel, 2 of 11."
    )
