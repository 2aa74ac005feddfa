from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.unisd_core.tasks.toolalpaca.folder import KIEL, said, task_of
from unisd_core.tasks.minitools.mistakes import MISTAKES


def test_negative_requests_go_round_robin(tmp_path: Path) -> None:
    task, found = task_of(tmp_path)
    for number, kind in enumerate([*MISTAKES, *MISTAKES]):
        request = task.negative_request(found, random.Random(0), number)
        assert request is not None
        assert request.kind == f"toolalpaca/{kind}/1"
        assert MISTAKES[kind] in request.prompt
        assert found.prompt in request.prompt
        assert found.reference in request.prompt


@pytest.mark.parametrize(
    ("text", "gold"),
    [
        (
            'Sure!\nthought: Sink\n it.\n**Action:** sinkBoat\naction input: {"boatId":4}\nDone.',
            'Thought: Sink it.\nAction: sinkBoat\nAction Input: {"boatId": 4}',
        ),
        (
            'Here is a wrong answer:\n{"tool_calls": [{"name": "listHarbours", "arguments": {}}]}',
            "Thought: I need to call listHarbours.\nAction: listHarbours\nAction Input: {}",
        ),
        (
            "<think>\nThought: Find it.\nAction: findBoat\n</think>\n[sinkBoat(boatId=4)]",
            'Thought: I need to call sinkBoat.\nAction: sinkBoat\nAction Input: {"boatId": 4}',
        ),
    ],
)
def test_what_a_model_writes_is_put_into_the_template(tmp_path: Path, text: str, gold: str) -> None:
    task, found = task_of(tmp_path)
    request = task.negative_request(found, random.Random(0), 0)
    assert request is not None
    wrong = request.read(text)
    assert wrong is not None
    assert wrong.reference == gold
    assert gold.startswith(f"Thought: {wrong.hint}\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot do that.",
        said(("findBoat", KIEL)),
        said(("findBoat", {**KIEL, "length": "9"})),
        said(("flyBoat", {})),
        said(("sinkBoat", {}), ("sinkBoat", {}), ("sinkBoat", {})),
        said(("sinkBoat", {})) + "\nAction: findBoat",
        'Action: sinkBoat\nAction Input: {"boatId": 1e999}',
        'Action: sinkBoat\nAction Input: {"boatId": "\\ud800"}',
        'Thought: a\x00b\nAction: sinkBoat\nAction Input: {"boatId": 1}',
        "Action: sinkBoat\nAction Input: {'boatId': 1}",
    ],
)
def test_unreadable_and_right_texts_are_refused(tmp_path: Path, text: str) -> None:
    task, found = task_of(tmp_path)
    request = task.negative_request(found, random.Random(0), 3)
    assert request is not None
    assert request.read(text) is None
