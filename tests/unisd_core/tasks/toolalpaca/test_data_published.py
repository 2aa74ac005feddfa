"""ToolAlpaca on the published rows, where a folder with them is at hand."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.unisd_core.tasks.test_registry_published_rows import DATA_DIR
from unisd_core.tasks.data import read_jsonl
from unisd_core.tasks.reading.tool_calls import find_calls
from unisd_core.tasks.registry import load_task
from unisd_core.tasks.toolalpaca.corruption import RULES, corrupt
from unisd_core.tasks.toolalpaca.documentation import documented_tools
from unisd_core.tasks.toolalpaca.golden import is_open
from unisd_core.tasks.toolalpaca.react import write_reference

FOLDER = Path(DATA_DIR) / "toolalpaca"
SIZES = {"test": 68, "eval_simulated": 32, "eval_real": 80}

pytestmark = pytest.mark.skipif(
    not (FOLDER / "test.jsonl").is_file(),
    reason="no published rows: set UNISD_DATA_DIR to a folder that holds them",
)


def test_all_test_prompts_are_what_the_template_gives() -> None:
    template = (FOLDER / "prompt_template.txt").read_text(encoding="utf-8")
    tools = {tool.text("name"): tool for tool in read_jsonl(FOLDER / "tools.jsonl")}
    rows = load_task("toolalpaca", DATA_DIR, 0).rows("test")
    for row in rows:
        tool = tools[row.category]
        assert row.prompt == template.format(
            name=row.category,
            description=tool.text("description"),
            nl=tool.text("nl_documentation"),
            q=row.details["question"],
        )
        documentation = tool.text("nl_documentation")
        assert len(documented_tools(row.prompt)) == documentation.count("\nParameters: ")


def test_rows_left_out_of_eval_simulated_are_the_test_rows() -> None:
    task = load_task("toolalpaca", DATA_DIR, 0)
    test = {(row.category, row.details["question"]) for row in task.rows("test")}
    kept = {(row.category, row.details["question"]) for row in task.rows("eval_simulated")}
    everything = read_jsonl(FOLDER / "eval_simulated.jsonl")
    assert {(r.text("name"), r.text("instruction")) for r in everything} - kept == test
    assert not kept & test
    assert len(everything) == 100


@pytest.mark.parametrize("split", SIZES)
def test_gold_is_correct_and_every_corruption_of_it_is_not(split: str) -> None:
    task = load_task("toolalpaca", DATA_DIR, 0)
    rows = task.rows(split)
    assert len(rows) == SIZES[split]
    assert len({row.uid for row in rows}) == len(rows)
    applied = dict.fromkeys(RULES, 0)
    for row in rows:
        score = task.score(row, row.reference)
        optional = any("[Optional]" in call["action"] for call in row.details["calls"])
        assert score.correct, row.uid
        assert score.parts == {"action": 1.0, "arguments": 1.0, "published": float(not optional)}
        right = list(find_calls(row.reference).calls)
        tools = documented_tools(row.prompt)
        for rule in RULES:
            wrong = corrupt(rule, right, tools, row.retrieval_text, random.Random(row.uid))
            if wrong is None:
                if rule == "action":
                    assert len(tools) == 1
                else:
                    values = [v for call in right for v in call.arguments.values()]
                    assert rule in ("value", "drop")
                    assert all(rule == "value" and is_open(v) for v in values)
                continue
            applied[rule] += 1
            text = write_reference("x", wrong)
            assert find_calls(text).clean
            assert not task.score(row, text).correct, (rule, row.uid)
        reference = task.wrong_reference(row, random.Random(row.uid))
        assert reference is not None
        assert task.score(row, reference.reference).extracted
        assert not task.score(row, reference.reference).correct
    assert min(applied.values()) > len(rows) / 2


@pytest.mark.parametrize("split", SIZES)
def test_gold_fits_the_decoding_limit(smollm2_tokenizer: Any, split: str) -> None:
    task = load_task("toolalpaca", DATA_DIR, 0)
    lengths = [
        len(ids) for ids in smollm2_tokenizer([r.reference for r in task.rows(split)]).input_ids
    ]
    # One more token ends the turn.
    assert max(lengths) + 1 <= task.max_completion_length
