from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.support.scripted_writer import ScriptedWriter
from tests.support.toy_task import ToyTask, toy_row
from unisd_core.common.errors import UserError
from unisd_core.config.method import ViewsConfig
from unisd_core.views.contexts import EXAMPLE_HEADER, INSTRUCTION_HEADER, build_contexts

TASK = ToyTask()
ROWS = [toy_row(f"u{n:02d}", f"question {n:02d}", f"gold-{n:02d}") for n in range(12)]


def views(count: int = 2, **induction: Any) -> ViewsConfig:
    settings = {"examples": 2, "pool": 6, **induction}
    return ViewsConfig.model_validate(
        {"auxiliary": "induction", "num_auxiliary": count, "induction": settings}
    )


def numbered() -> ScriptedWriter:
    return ScriptedWriter(lambda prompt, seed: f" Read the question twice ({seed}).\n")


def sources(prompt: str) -> set[str]:
    return {row.uid for row in ROWS if TASK.demonstration(row) in prompt}


def test_instructions_are_written_from_disjoint_examples(tmp_path: Path) -> None:
    writer = numbered()
    found = build_contexts(ROWS, TASK, views(), 0, writer.writing(tmp_path))
    groups = [sources(prompt) for prompt in writer.prompts]
    assert [len(group) for group in groups] == [2] * 6
    assert set().union(*groups) == {row.uid for row in ROWS}
    assert len(set(writer.seeds)) == 6
    assert len(writer.calls) == 1
    assert found.counts["induction.written"] == 6


def test_few_rows_are_used_more_than_once(tmp_path: Path) -> None:
    writer = numbered()
    build_contexts(ROWS[:5], TASK, views(1), 0, writer.writing(tmp_path))
    assert [len(sources(prompt)) for prompt in writer.prompts] == [2] * 6


def test_a_row_gets_distinct_instructions_written_without_it(tmp_path: Path) -> None:
    writer = numbered()
    found = build_contexts(ROWS, TASK, views(3), 0, writer.writing(tmp_path))
    written = dict(zip(writer.seeds, writer.prompts, strict=True))
    assert found.counts["induction.replaced"] == 0
    drawn = set()
    for row, texts in zip(ROWS, found.texts, strict=True):
        assert len(set(texts)) == 3
        for text in texts:
            assert text.startswith(f"{INSTRUCTION_HEADER}\n\nRead the question twice (")
            seed = int(text.rpartition("(")[2].rstrip(")."))
            assert row.uid not in sources(written[seed])
            drawn.add(seed)
    assert drawn == set(written)


def test_a_row_with_the_question_of_an_example_counts_as_that_example(tmp_path: Path) -> None:
    twin = toy_row("twin", "Question  03", "other")
    writer = numbered()
    rows = [*ROWS, twin]
    found = build_contexts(rows, TASK, views(6, examples=1, pool=40), 0, writer.writing(tmp_path))
    written = dict(zip(writer.seeds, writer.prompts, strict=True))
    for text in found.texts[-1]:
        seed = int(text.rpartition("(")[2].rstrip(")."))
        assert "uestion 03" not in written[seed]


def test_contexts_follow_the_seed_and_not_the_order_of_rows(tmp_path: Path) -> None:
    writing = numbered().writing(tmp_path)
    first = build_contexts(ROWS, TASK, views(), 0, writing).texts
    shuffled = ROWS.copy()
    random.Random(1).shuffle(shuffled)
    found = build_contexts(shuffled, TASK, views(), 0, writing).texts
    by_uid = dict(zip([row.uid for row in shuffled], found, strict=True))
    assert [by_uid[row.uid] for row in ROWS] == first
    assert build_contexts(ROWS, TASK, views(), 1, writing).texts != first


def test_a_second_build_does_not_ask_the_model(tmp_path: Path) -> None:
    writer = numbered()
    first = build_contexts(ROWS, TASK, views(), 0, writer.writing(tmp_path))
    again = build_contexts(ROWS, TASK, views(), 0, writer.writing(tmp_path))
    assert again.texts == first.texts
    assert len(writer.calls) == 1
    assert again.counts["induction.cached"] == 6


@pytest.mark.parametrize("script", [lambda p, s: " \n", lambda p, s: f"Say {p}."])
def test_empty_and_leaking_texts_are_refused_and_examples_take_their_place(
    tmp_path: Path, script: Any
) -> None:
    writer = ScriptedWriter(script)
    found = build_contexts(ROWS, TASK, views(3, retries=1), 0, writer.writing(tmp_path))
    assert found.counts == {
        "induction.written": 12,
        "induction.cached": 0,
        "induction.failed": 6,
        "induction.replaced": 36,
    }
    for row, texts in zip(ROWS, found.texts, strict=True):
        assert len(set(texts)) == 3
        assert all(text.startswith(EXAMPLE_HEADER) and row.reference not in text for text in texts)


def test_thoughts_are_no_part_of_an_instruction(tmp_path: Path) -> None:
    writer = ScriptedWriter(lambda prompt, seed: f"<think>Hm.</think>\nRead it {seed} times.")
    found = build_contexts(ROWS, TASK, views(1), 0, writer.writing(tmp_path))
    assert all(f"{INSTRUCTION_HEADER}\n\nRead it" in text for (text,) in found.texts)
    endless = ScriptedWriter(lambda prompt, seed: f"<think>Hm, {seed} times.")
    found = build_contexts(ROWS, TASK, views(1, retries=0), 0, endless.writing(tmp_path / "b"))
    assert found.counts["induction.failed"] == 6


def test_cut_off_instructions_are_refused(tmp_path: Path) -> None:
    writer = ScriptedWriter(lambda prompt, seed: "Read it", finished=False)
    found = build_contexts(ROWS, TASK, views(1, retries=0), 0, writer.writing(tmp_path))
    assert found.counts["induction.failed"] == 6


def test_an_instruction_is_kept_from_the_row_whose_answer_it_holds(tmp_path: Path) -> None:
    # All but one of them name the gold of u05, and that one was written from u05.
    writer = ScriptedWriter(
        lambda prompt, seed: f"Never say GOLD-0{4 if 'gold-05' in prompt else 5} ({seed})."
    )
    found = build_contexts(ROWS, TASK, views(6, examples=1, pool=12), 0, writer.writing(tmp_path))
    for row, texts in zip(ROWS, found.texts, strict=True):
        assert all(row.reference not in text.casefold() for text in texts)
    assert found.counts["induction.replaced"] == 6


def test_equal_instructions_count_once(tmp_path: Path) -> None:
    writer = ScriptedWriter(lambda prompt, seed: "Read it twice.")
    found = build_contexts(ROWS, TASK, views(2), 0, writer.writing(tmp_path))
    assert all(
        sum(text.startswith(INSTRUCTION_HEADER) for text in texts) == 1 for texts in found.texts
    )


def test_instructions_need_a_writer() -> None:
    with pytest.raises(UserError, match=r"views\.auxiliary=induction needs the model"):
        build_contexts(ROWS, TASK, views(), 0)
