"""No context may contain the row's own answer: every task, every kind of context."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.scripted_writer import ScriptedWriter
from tests.support.toy_task import ToyTask, toy_row
from tests.unisd_core.tasks.test_registry_published_rows import DATA_DIR
from unisd_core.common.errors import UserError
from unisd_core.config.method import ViewsConfig
from unisd_core.tasks.base import Task
from unisd_core.tasks.registry import TASKS, load_task
from unisd_core.tasks.row import Row
from unisd_core.views.contexts import EXAMPLE_HEADER, build_contexts

ROWS = 400
STAND_IN = {"toolalpaca": "test", "humaneval": "test"}
"""The split of a task whose training rows a data folder does not hold, or that has none."""


def task_and_rows(name: str) -> tuple[Task, list[Row]]:
    if name == "toy":
        return ToyTask(), [toy_row(f"u{n}", f"question {n}", f"gold-{n:03d}") for n in range(60)]
    if name != "minitools" and not DATA_DIR:
        pytest.skip("no published rows: set UNISD_DATA_DIR to a folder that holds them")
    task = load_task(name, DATA_DIR or None, 0)
    try:
        rows = task.rows(STAND_IN.get(name, "train"))
    except UserError as error:
        # Only to be tested on, or not among the published rows at hand.
        assert "has no" in str(error)
        pytest.skip(str(error))
    return task, random.Random(0).sample(rows, min(ROWS, len(rows)))


@pytest.mark.parametrize("kind", ["random", "retrieval", "induction"])
@pytest.mark.parametrize("name", [*TASKS, "toy"])
def test_no_context_holds_its_rows_own_question_or_answer(
    name: str, kind: str, tmp_path: Path
) -> None:
    task, rows = task_and_rows(name)
    shared = Counter(row.reference for row in rows)
    rng = random.Random(1)

    def leak(prompt: str, seed: int) -> str:
        # An example of the prompt, spelled otherwise, or the answer of any row at all.
        shown = [row for row in rows if task.demonstration(row) in prompt]
        row = rng.choice(shown if rng.random() < 0.3 and shown else rows)
        return f"General advice {seed}: answer {row.reference.upper().replace(' ', '  ')}"

    settings: dict[str, Any] = {"auxiliary": kind, "num_auxiliary": 3}
    writer = ScriptedWriter(leak)
    found = build_contexts(
        rows, task, ViewsConfig.model_validate(settings), 0, writer.writing(tmp_path)
    )
    checked = 0
    for row, texts in zip(rows, found.texts, strict=True):
        assert len(set(texts)) == 3
        for text in texts:
            if text.startswith(EXAMPLE_HEADER):
                assert task.demonstration(row) not in text
            # A gold that many rows share, such as a letter alone, is no secret.
            if shared[row.reference] < max(5, 0.05 * len(rows)):
                checked += 1
                flat = " ".join(text.casefold().split())
                assert row.reference not in text
                assert kind != "induction" or " ".join(row.reference.casefold().split()) not in flat
    assert checked or name.startswith("arc_")
