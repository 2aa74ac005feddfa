from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unisd_core.tasks.toolalpaca.folder import FIND, KIEL, QUESTION, call, said, task_of


def test_the_reference_has_the_form_asked_for(tmp_path: Path) -> None:
    task, found = task_of(tmp_path, FIND, call("listHarbours", {}))
    assert found.reference == (
        "Thought: I need to call findBoat, then listHarbours.\n"
        'Action: findBoat\nAction Input: {"harbour": "Kiel", "length": 9, "kind": "sail"}\n'
        "Action: listHarbours\nAction Input: {}"
    )
    assert found.hint in found.reference
    assert (found.uid, found.category) == ("toolalpaca/test/00000", "Boats")
    assert found.retrieval_text == QUESTION
    assert task.demonstration(found) == f"Question: {QUESTION}\n{found.reference}"
    assert found.prompt not in task.demonstration(found)


@pytest.mark.parametrize(
    ("arguments", "correct", "share", "published"),
    [
        (KIEL, True, 1.0, 1.0),
        ({"kind": "sail", "length": 9, "harbour": "Kiel"}, True, 1.0, 1.0),
        ({**KIEL, "length": "9"}, True, 1.0, 1.0),
        ({**KIEL, "length": 9.0}, True, 1.0, 0.0),
        ({**KIEL, "harbour": " Kiel "}, True, 1.0, 1.0),
        ({**KIEL, "flag": ""}, True, 1.0, 1.0),
        ({**KIEL, "flag": None}, True, 1.0, 1.0),
        ({**KIEL, "flag": "danish"}, False, 3 / 4, 1.0),
        ({**KIEL, "harbour": "kiel"}, False, 2 / 3, 0.0),
        ({**KIEL, "harbour": ["Kiel"]}, False, 2 / 3, 0.0),
        ({**KIEL, "length": ""}, False, 2 / 3, 0.0),
        ({"harbour": "Kiel", "length": 9}, False, 2 / 3, 0.0),
        ({}, False, 0.0, 0.0),
    ],
)
def test_arguments_are_compared_as_text_and_further_ones_are_wrong(
    tmp_path: Path, arguments: dict[str, Any], correct: bool, share: float, published: float
) -> None:
    task, found = task_of(tmp_path)
    score = task.score(found, said(("findBoat", arguments)))
    assert (score.correct, score.extracted) == (correct, True)
    assert score.parts == {
        "action": 1.0, "arguments": pytest.approx(share), "published": published
    }  # fmt: skip


def test_nested_values_and_booleans(tmp_path: Path) -> None:
    gold = {"tags": ["a", 1], "of": {"x": True, "y": "${y from f}"}}
    task, found = task_of(tmp_path, call("findBoat", gold))

    def right(**changed: Any) -> bool:
        return task.score(found, said(("findBoat", {**gold, **changed}))).correct

    assert right()
    assert right(tags=["a", "1"], of={"y": 7, "x": "true"})
    assert not right(tags=[1, "a"])
    assert not right(tags=["a"])
    assert not right(tags="a, 1")
    assert not right(of={"x": True})
    assert not right(of={"x": 1, "y": 7})
    assert not right(of=[])


def test_a_call_in_the_form_of_a_family_and_without_its_thought_is_right(tmp_path: Path) -> None:
    gold = {"harbour": "K\u00f6ge", "loudly": True, "tags": ["a", 1]}
    task, found = task_of(tmp_path, call("findBoat", gold))
    for text in (
        '<think>findBoat!</think>{"name": "findBoat", "parameters": {"harbour": "K\u00f6ge", '
        '"loudly": true, "tags": ["a", 1]}}',
        '[findBoat(harbour="Ko\u0308ge", loudly=True, tags=["a", 1])]',
        "<function=findBoat><parameter=harbour>K\u00f6ge</parameter><parameter=loudly>True"
        '</parameter><parameter=tags>["a", 1]</parameter></function>',
    ):
        assert task.score(found, text).correct
        answer = text.removeprefix("<think>findBoat!</think>")
        assert not task.score(found, f"<think>{answer}").extracted


def test_empty_gold_values_may_be_left_out_but_not_filled(tmp_path: Path) -> None:
    task, found = task_of(tmp_path, call("findBoat", {"harbour": "Kiel", "kind": ""}))
    assert task.score(found, said(("findBoat", {"harbour": "Kiel"}))).correct
    assert task.score(found, said(("findBoat", {"harbour": "Kiel", "kind": ""}))).correct
    score = task.score(found, said(("findBoat", {"harbour": "Kiel", "kind": "sail"})))
    assert (score.correct, score.parts["published"]) == (False, 1.0)


def test_an_open_value_takes_any_but_must_be_there(tmp_path: Path) -> None:
    task, found = task_of(tmp_path, call("sinkBoat", '{"boatId": ${boatId from findBoat}}'))
    assert task.score(found, found.reference).correct
    assert task.score(found, said(("sinkBoat", {"boatId": 4}))).correct
    assert not task.score(found, said(("sinkBoat", {}))).correct
    assert not task.score(found, said(("sinkBoat", {"boatId": ""}))).correct


def test_an_optional_call_may_be_made_or_not(tmp_path: Path) -> None:
    task, found = task_of(tmp_path, FIND, call("[Optional]sinkBoat", {"boatId": 4}))
    both, one = said(("findBoat", KIEL), ("sinkBoat", {"boatId": 4})), said(("findBoat", KIEL))
    assert "[Optional]" not in found.reference
    assert task.score(found, found.reference).correct
    assert task.score(found, both).correct
    assert task.score(found, one).correct
    assert not task.score(found, said(("sinkBoat", {"boatId": 4}))).correct
    assert not task.score(found, said(("findBoat", KIEL), ("sinkBoat", {"boatId": 5}))).correct
    # The released evaluation compares the mark as part of the name.
    assert task.score(found, both).parts["published"] == 0.0


def test_number_and_order_of_calls_count(tmp_path: Path) -> None:
    task, found = task_of(tmp_path, FIND, call("listHarbours", {}))
    first, second = ("findBoat", KIEL), ("listHarbours", {})
    assert task.score(found, said(first, second)).correct
    for wrong in ([first], [second, first], [first, second, second], [first, first], [second]):
        score = task.score(found, said(*wrong))
        assert (score.correct, score.parts["published"]) == (False, 0.0)
    assert not task.score(found, f"{said(first, second)}\nAction: again").correct


@settings(deadline=None)
@given(text=st.text() | st.text().map(lambda t: f'Action: findBoat\nAction Input: {{"a": "{t}"}}'))
def test_scoring_never_raises(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    task, found = task_of(tmp_path_factory.mktemp("rows"))
    assert not task.score(found, text).correct


def test_deep_and_huge_values_are_scored_as_wrong(tmp_path: Path) -> None:
    task, found = task_of(tmp_path)
    for value in ("[" * 900 + "]" * 900, "1e999", "1e308", "9" * 4000):
        text = f'Action: findBoat\nAction Input: {{"harbour": {value}}}'
        assert not task.score(found, text).correct
