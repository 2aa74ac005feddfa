"""Custom rows and benchmark folders, as JSONL: read, or refused by file and line."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.fuzz.damage import (
    DEEP,
    MISPLACED,
    damaged_bytes,
    damaged_fields,
    json_object,
    misplace,
    texts,
)
from tests.fuzz.harness import accepted, always, fuzz, well_formed
from tests.fuzz.phrases import ANSWERS, CALLS, NUMBERS, completions
from tests.pipelines.command.test_cli_bad_input import row as question
from tests.unisd_core.tasks.code.samples import FULL, HUMANEVAL
from tests.unisd_core.tasks.toolalpaca.folder import row as toolalpaca_row
from tests.unisd_core.tasks.toolalpaca.folder import write_folder
from unisd_core.config.data import CustomConfig
from unisd_core.tasks.custom.python_tests import PythonTests
from unisd_core.tasks.custom.task import CustomTask
from unisd_core.tasks.data import Record
from unisd_core.tasks.registry import load_task
from unisd_core.tasks.row import Row

CUSTOM: dict[str, dict[str, Any]] = {
    "exact_match": {"prompt": "Say yes.", "reference": "I say\nyes", "answer": "yes", "uid": "1"},
    "choice": {"prompt": "A. one B. two", "reference": "Answer: B", "choices": ["one", "two"]},
    "numeric": {"prompt": "6 * 7?", "reference": "It is 42.", "hint": "x", "category": "y"},
    "json_call": {
        "prompt": "Add.",
        "reference": '{"name": "add", "arguments": {"a": 1, "b": {"c": [1.5, null]}}}',
    },
}
TESTED = {
    "prompt": "Double.",
    "reference": "def f(x):\n    return 2 * x",
    "tests": "assert f(2) == 4",
}
BENCHMARKS: dict[str, tuple[str, str, Mapping[str, Any]]] = {
    "cos_e": ("train", "train", json.loads(question(1))),
    "arc_easy": ("test", "test", json.loads(question(2))),
    "gsm8k": ("train", "train", {"question": "6 * 7?", "answer": "<<6*7=42>>\n#### 42"}),
    "mbpp": ("train", "full_train", FULL),
    "humaneval": ("test", "test", HUMANEVAL),
    "toolalpaca": ("eval_simulated", "eval_simulated", toolalpaca_row(in_test_68=False)),
}
"""Task -> split, file of the split, a row of it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rows")
    write_folder(root)
    return root


def custom(path: Path, metric: str) -> list[Row]:
    settings = CustomConfig(train=str(path), test=str(path), metric=metric)  # type: ignore[arg-type]
    task = CustomTask(settings)
    rows = task.rows("train")
    for row in rows:
        well_formed((row.uid, row.prompt, row.reference, row.hint, row.category))
        task.demonstration(row)
        wrong = task.wrong_reference(row, random.Random(0))
        assert wrong is None or not task.score(row, wrong.reference).correct
    return rows


def benchmark(root: Path, task: str) -> list[Row]:
    rows = load_task(task, str(root), 0).rows(BENCHMARKS[task][0])
    for row in rows:
        well_formed((row.uid, row.prompt, row.reference, row.hint, row.category))
    return rows


@fuzz(60)
@given(st.data(), st.sampled_from(sorted(CUSTOM)))
def test_custom_rows_with_other_fields(folder: Path, data: st.DataObject, metric: str) -> None:
    row = damaged_fields(CUSTOM[metric]).flatmap(json_object)
    lines = data.draw(st.lists(row, min_size=1, max_size=3))
    path = folder / "own.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    accepted("rows: custom, other fields", [path], lambda: custom(path, metric))


@fuzz(30)
@given(st.data(), st.sampled_from(sorted(CUSTOM)))
def test_custom_rows_of_model_like_text(folder: Path, data: st.DataObject, metric: str) -> None:
    said = completions({"json_call": CALLS, "numeric": NUMBERS}.get(metric, ANSWERS))
    fields = {"prompt": data.draw(said), "reference": data.draw(said)}
    path = folder / "said.jsonl"
    path.write_text(json.dumps(fields), encoding="utf-8")
    accepted("rows: custom, odd texts", [path], lambda: custom(path, metric))


@fuzz(40)
@given(st.data(), st.sampled_from(sorted(CUSTOM)))
def test_damaged_custom_rows(folder: Path, data: st.DataObject, metric: str) -> None:
    path = folder / "damaged.jsonl"
    path.write_bytes(data.draw(damaged_bytes(json.dumps(CUSTOM[metric]).encode() + b"\n")))
    accepted("rows: custom, damaged", [path], lambda: custom(path, metric))


TURNS = (
    {"role": "user", "content": [{"type": "text", "text": "Say yes."}]},
    {"role": "assistant", "content": "yes", "reasoning_content": "So.", "tool_calls": None},
)
CHOICES = (
    ["one", "two"], [1, 2], {"A": "one", "B": "two"}, {"label": ["1", "2"], "text": ["one", "two"]},
    [{"label": "A", "text": "one"}, {"label": "B", "text": "two"}],
)  # fmt: skip


@fuzz(40)
@given(damaged_fields(TURNS[0]), damaged_fields(TURNS[1]))
def test_custom_rows_of_messages(
    folder: Path, user: dict[str, Any], assistant: dict[str, Any]
) -> None:
    path = folder / "messages.jsonl"
    path.write_text(json.dumps({"messages": [user, assistant]}), encoding="utf-8")
    accepted("rows: custom, messages", [path], lambda: custom(path, "exact_match"))


@fuzz(40)
@given(st.data(), st.sampled_from(CHOICES))
def test_custom_rows_with_choices(folder: Path, data: st.DataObject, choices: Any) -> None:
    valid = {"prompt": "Which?", "choices": choices, "answer_index": 1, "reference": "two"}
    fields = data.draw(damaged_fields(valid))
    if isinstance(choices, dict) and data.draw(st.booleans()):
        fields["choices"] = data.draw(damaged_fields(choices))
    path = folder / "choices.jsonl"
    path.write_text(data.draw(json_object(fields)), encoding="utf-8")
    accepted("rows: custom, choices", [path], lambda: custom(path, "choice"))


@fuzz(40)
@given(st.lists(st.tuples(*[st.sampled_from(["", "1", "2", 1])] * 4), min_size=1, max_size=9))
def test_custom_rows_that_occur_twice(folder: Path, rows: list[tuple[Any, ...]]) -> None:
    lines = [
        {"uid": uid, "prompt": f"p{prompt}", "reference": f"r{said}", "hint": str(hint)}
        for uid, prompt, said, hint in rows
    ]
    path = folder / "twice.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    read = accepted("rows: custom, twice", [path], lambda: custom(path, "exact_match"))
    settings = CustomConfig(train=str(path), test=str(path), contradictions="keep")
    kept = always("rows: custom, twice", CustomTask(settings).rows, "train")
    assert read is None or read == kept
    assert len({row.uid for row in kept}) == len(kept)
    texts = {(row.prompt, row.reference, row.hint) for row in kept}
    assert texts == {(line["prompt"], line["reference"], line["hint"]) for line in lines}


@fuzz(15)
@given(damaged_fields(TESTED) | st.fixed_dictionaries({"tests": texts(), "reference": texts()}))
@example({"tests": "f(" * 900 + ")" * 900, "reference": "def f(): pass"})
@example({"tests": ["f(1)", 2], "reference": "def f(): pass"})
@example({"tests": {"inputs": [1], "outputs": [[]]}, "reference": "print(input())"})
@example({"tests": "[" * 5000, "reference": "def f(): pass"})
@example({"tests": ">>> f(", "reference": "def f(): pass"})
@example({"tests": "def check(c): c()", "entry_point": "f.", "reference": "def f(): pass"})
@example({"tests": "import f.g\nfrom . import f", "reference": "def f(): pass"})
@example({"tests": "f(\ud800)", "reference": "def f(): pass"})
def test_own_programs(fields: dict[str, Any]) -> None:
    record = Record(fields, 0, "programs.jsonl:1")

    def read() -> dict[str, Any]:
        return PythonTests().details(record, record.text("reference"))

    accepted("rows: custom programs", ["programs.jsonl:1"], read)


@fuzz(60)
@given(st.data(), st.sampled_from(sorted(BENCHMARKS)))
def test_benchmark_rows_with_other_fields(folder: Path, data: st.DataObject, task: str) -> None:
    _, file, valid = BENCHMARKS[task]
    lines = data.draw(st.lists(damaged_fields(valid).flatmap(json_object), min_size=1, max_size=2))
    path = folder / task / f"{file}.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")
    accepted("rows: benchmark, other fields", [path], lambda: benchmark(folder, task))


@fuzz(30)
@given(st.data(), st.sampled_from(sorted(BENCHMARKS)))
def test_damaged_benchmark_rows(folder: Path, data: st.DataObject, task: str) -> None:
    _, file, valid = BENCHMARKS[task]
    path = folder / task / f"{file}.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data.draw(damaged_bytes(json.dumps(valid).encode() + b"\n")))
    accepted("rows: benchmark, damaged", [path], lambda: benchmark(folder, task))


TEMPLATES = ("{", "}", "{name}", "{q", "{nl:", "{q[0]}", "{q[x]}", "{q.x}", "{0}", "{}", "{q!r}",
             "{q!x}", "{q:{nl}}", "{q:>9}", "{q:d}", "Begin!", "\n")  # fmt: skip


@fuzz(15)
@given(st.lists(st.sampled_from(TEMPLATES) | texts(4), max_size=5).map("".join))
@example("{q[x]}")
def test_prompt_templates(tmp_path_factory: pytest.TempPathFactory, template: str) -> None:
    root = tmp_path_factory.getbasetemp() / "templates"
    if not root.exists():
        root.mkdir()
        write_folder(root, eval_real=[toolalpaca_row()])
    path = root / "toolalpaca" / "prompt_template.txt"
    path.write_bytes(template.encode("utf-8", "surrogatepass"))
    task = load_task("toolalpaca", str(root), 0)
    accepted("rows: prompt template", [path], lambda: task.rows("eval_real"))


def test_only_rows_that_are_test_rows(tmp_path: Path) -> None:
    write_folder(tmp_path, eval_simulated=[toolalpaca_row(in_test_68=True)])
    path = tmp_path / "toolalpaca" / "eval_simulated.jsonl"
    assert accepted("rows: benchmark", [path], lambda: benchmark(tmp_path, "toolalpaca")) is None


@pytest.mark.parametrize("how", MISPLACED)
def test_no_file_in_the_place_of_the_rows(tmp_path: Path, how: str) -> None:
    for suffix in ("jsonl", "parquet", "csv"):
        path = misplace(tmp_path / "own" / f"rows.{suffix}", how)
        accepted("rows: misplaced", [path], partial(custom, path, "exact_match"))
    for task, (_, file, _) in BENCHMARKS.items():
        misplace(tmp_path / task / f"{file}.jsonl", how)
        accepted("rows: misplaced", [tmp_path], partial(benchmark, tmp_path, task))


@fuzz(25)
@given(st.data(), st.sampled_from(["cos_e", "gsm8k", "toolalpaca"]))
def test_scores_of_model_text(folder: Path, data: st.DataObject, task: str) -> None:
    root = folder / "scored"
    if not root.exists():
        root.mkdir()
        write_folder(root)
        for name, (_, file, valid) in BENCHMARKS.items():
            (root / name).mkdir(exist_ok=True)
            (root / name / f"{file}.jsonl").write_text(json.dumps(valid))
    loaded = load_task(task, str(root), 0)
    row = loaded.rows(BENCHMARKS[task][0])[0]
    said = data.draw(completions(ANSWERS + CALLS + NUMBERS))
    score = always("rows: score", loaded.score, row, said)
    assert all(0 <= part <= 1 for part in score.parts.values())
    request = loaded.negative_request(row, random.Random(0), 0)
    if request is not None:
        wrong = always("rows: wrong answer", request.read, said)
        assert wrong is None or not loaded.score(row, wrong.reference).correct


def test_rows_nested_too_deep(tmp_path: Path) -> None:
    path = tmp_path / "deep.jsonl"
    path.write_text('{"prompt": ' + "[" * DEEP)
    assert accepted("rows: custom", [f"{path}:1"], lambda: custom(path, "exact_match")) is None
