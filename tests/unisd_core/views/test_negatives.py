from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.support.scripted_writer import ScriptedWriter
from tests.support.toy_task import ToyTask, toy_row
from unisd_core.common.errors import UserError
from unisd_core.config.method import NegativesConfig
from unisd_core.tasks.minitools.mistakes import MISTAKES
from unisd_core.tasks.registry import load_task
from unisd_core.views.negatives import wrong_references

TASK = ToyTask()
ROWS = [toy_row(f"u{n}", f"question {n}", f"gold-{n}") for n in range(5)]


def generated(**settings: Any) -> NegativesConfig:
    return NegativesConfig.model_validate({"source": "generated", **settings})


def test_the_rule_gives_distinct_references_of_the_row_alone() -> None:
    found = wrong_references(ROWS, TASK, NegativesConfig(per_row=4), 0)
    assert found.counts == {"negatives.rule": 20}
    for references in found.rows:
        assert len({wrong.reference for wrong in references}) == 4
    assert wrong_references(ROWS[2:3], TASK, NegativesConfig(per_row=4), 0).rows == found.rows[2:3]
    assert wrong_references(ROWS, TASK, NegativesConfig(per_row=4), 1).rows != found.rows
    first = wrong_references(ROWS, TASK, NegativesConfig(), 0).rows
    assert first == [references[:1] for references in found.rows]


def test_a_row_without_wrong_answers_has_none(tmp_path: Path) -> None:
    writer = ScriptedWriter(lambda prompt, seed: "x")
    rows = [toy_row("u", "question", "only this")]
    found = wrong_references(rows, TASK, generated(), 0, writer.writing(tmp_path))
    assert found.rows == [[]]
    assert not writer.prompts


def test_the_model_writes_for_the_wanted_rows_and_the_rule_for_the_others(tmp_path: Path) -> None:
    writer = ScriptedWriter(lambda prompt, seed: f"lie {seed}")
    writing = writer.writing(tmp_path)
    settings = generated(per_row=2, max_tokens=50, temperature=0.5)
    found = wrong_references(ROWS, TASK, settings, 0, writing, wanted={"u1", "u3"})
    assert writer.prompts == [f"Answer wrongly: question {n}" for n in (1, 1, 3, 3)]
    assert writer.calls == [{"temperature": 0.5, "max_tokens": 50}]
    for row, references in zip(ROWS, found.rows, strict=True):
        assert len({wrong.reference for wrong in references}) == 2
        start = "lie " if row.uid in ("u1", "u3") else "wrong-"
        assert all(wrong.reference.startswith(start) for wrong in references)
    assert found.counts["negatives.written"] == 4
    assert found.counts["negatives.rule"] == 6
    again = wrong_references(ROWS, TASK, settings, 0, writing, wanted={"u1", "u3"})
    assert again.rows == found.rows
    assert again.counts["negatives.cached"] == 4
    assert len(writer.calls) == 1


@pytest.mark.parametrize("text", ["", "the gold"])
def test_failures_fall_back_to_the_rule(tmp_path: Path, text: str) -> None:
    writer = ScriptedWriter(lambda prompt, seed: text and f"gold-{prompt[-1]}")
    found = wrong_references(ROWS, TASK, generated(retries=1), 0, writer.writing(tmp_path))
    assert all(wrong.reference.startswith("wrong-") for (wrong,) in found.rows)
    assert found.counts == {
        "negatives.written": 10, "negatives.cached": 0, "negatives.failed": 5, "negatives.rule": 5,
    }  # fmt: skip


def test_equal_texts_are_one_reference(tmp_path: Path) -> None:
    writer = ScriptedWriter(lambda prompt, seed: "always this")
    found = wrong_references(ROWS, TASK, generated(per_row=3), 0, writer.writing(tmp_path))
    for references in found.rows:
        assert len({wrong.reference for wrong in references}) == 3
    assert found.counts["negatives.rule"] == 10


def test_a_missing_writer_is_an_error_only_where_it_is_needed() -> None:
    with pytest.raises(UserError, match=r"negatives\.source=generated needs the model"):
        wrong_references(ROWS, TASK, generated(), 0)
    assert wrong_references(ROWS, TASK, generated(), 0, wanted=set()).counts["negatives.rule"] == 5


def test_the_kinds_of_error_go_round_within_a_row_and_over_rows(tmp_path: Path) -> None:
    task = load_task("minitools", None, 0)
    rows = random.Random(0).sample(task.rows("train"), 40)
    writer = ScriptedWriter(lambda prompt, seed: "")
    wrong_references(rows, task, generated(per_row=4, retries=0), 0, writer.writing(tmp_path))
    for start in range(0, len(writer.prompts), 4):
        asked = writer.prompts[start : start + 4]
        assert {kind for kind in MISTAKES for p in asked if MISTAKES[kind] in p} == set(MISTAKES)
    first = writer.prompts[::4]
    assert all(any(text in prompt for prompt in first) for text in MISTAKES.values())
