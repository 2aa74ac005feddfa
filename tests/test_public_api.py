"""The names of ``unisd_core`` and their signatures: what notebooks rely on."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import unisd_core

ROOT = Path(__file__).parents[1]

METHODS = (
    "Config.from_preset", "Config.from_saved", "Student.update", "Student.weights",
    "Task.from_rows", "Task.rows", "Task.score", "Task.demonstration", "Task.wrong_reference",
    "TeacherScorer.load", "TeacherScorer.score", "TeacherWeights.after_step",
    "TeacherWeights.state",
)  # fmt: skip

API = """
AnswerScore(correct: bool, extracted: bool, parts: Mapping[str, float] = ...)
Config.from_preset(preset: str | Sequence[str] | None = None, overrides: Sequence[str] |
    Mapping[str, Any] = (), presets_dir: Path = ...) -> Config
Config.from_saved(path: Path) -> Config
MicroBatch(student_hidden_NH: Tensor, teacher_hidden_NH: Tensor | None, token_N: Tensor, row_N:
    Tensor = None, token_weight_N: Tensor = None, sequence_weight_R: Tensor = None,
    negative_logprob_N: Tensor = None, has_negative_N: Tensor = None, behaviour_logprob_N:
    Tensor = None, same_version_N: Tensor = None, stale_N: Tensor = None, clip: float | None =
    None, global_rows: int = 0, teacher_head_VH: Tensor | None = None, teacher_topk: TopK | None
    = None, student_layers_LNH: Tensor | None = None, teacher_layers_LNH: Tensor | None = None)
Row(prompt: str, reference: str, *, answer: str = '', choices: Sequence[str] = (), tests: str |
    Sequence[str] | Sequence[Mapping[str, str]] = '', hint: str = '', category: str = '', uid:
    str = '', retrieval_text: str = '', question: str = '', details: Mapping[str, Any] = ...)
Student(config: Config, model: ModelFiles | Path | str, world: int = 1)
Student.update(self, rows: pa.Table, version: int = 0, global_rows: int | None = None, gather:
    Gather = ...) -> dict[str, float]
Student.weights(self) -> dict[str, Tensor]
Task()
Task.demonstration(self, row: Row) -> str
Task.from_rows(rows: Iterable[Row], metric: str = 'exact_match', *, test: Iterable[Row] = (),
    name: str = 'rows', max_completion_length: int = 256, contradictions: str = 'refuse') ->
    Task
Task.rows(self, split: str) -> list[Row]
Task.score(self, row: Row, completion: str) -> AnswerScore
Task.wrong_reference(self, row: Row, rng: random.Random) -> Row | None
TeacherScorer(config: Config, model: ModelFiles | Path | str)
TeacherScorer.load(self, version: int, state: Mapping[str, Tensor])
TeacherScorer.score(self, table: pa.Table) -> pa.Table
TeacherWeights(settings: TeacherConfig, initial: Mapping[str, Tensor])
TeacherWeights.after_step(self, step: int, student: Mapping[str, Tensor]) -> bool
TeacherWeights.state(self) -> State
agree(scored: pa.Table, config: Config, *, batch: int = 0, scale: float | None = None,
    parseable: Parseable | None = None) -> pa.Table
finalise_metrics(sums: Mapping[str, float]) -> dict[str, float]
load_model(config: Config) -> LoadedModel
load_task(name: str, data_dir: str | None = None, seed: int = 0, custom: CustomConfig | None =
    None) -> Task
sample(model: LoadedModel, rows: Task | Sequence[Row], config: Config) -> pa.Table
save_trained(config: Config, state: Mapping[str, Tensor], model_dir: Path, folder: Path) -> Path
train(config: Config, model: ModelFiles | None = None, task: Task | None = None, *, sample:
    Sample | None = None, on_step: Callable[[int, dict[str, float]], None] | None = None) ->
    Student
"""
"""Defaults that are objects are left out. Settings are held by docs/settings.md."""


def signature(name: str) -> str:
    """``name`` with its parameters, in lines."""
    value: Any = unisd_core
    for part in name.split("."):
        value = getattr(value, part)
    text = re.sub(r"(: |-> )'([^']*)'", r"\1\2", name + str(inspect.signature(value)))
    text = re.sub(r"= (<.*?>|PosixPath\(.*?\))", "= ...", text).removesuffix(" -> None")
    return textwrap.fill(text, 96, subsequent_indent="    ", break_long_words=False)


def test_names_and_signatures_stay() -> None:
    names = sorted({*unisd_core.__all__, *METHODS} - {"Config", "UserError"})
    assert "\n".join(map(signature, names)) == API.strip()
    assert {"Config", "UserError"} <= set(unisd_core.__all__)


def test_names_are_listed_and_an_unknown_one_is_an_error() -> None:
    assert set(unisd_core.__all__) <= set(dir(unisd_core))
    with pytest.raises(AttributeError, match="no attribute 'Trainer'"):
        unisd_core.Trainer  # noqa: B018


@pytest.mark.parametrize(
    ("names", "absent"),
    [
        ("Config, Row, Task, UserError, load_task", {"torch", "transformers", "ray"}),
        (", ".join(unisd_core.__all__), {"ray", "vllm"}),
    ],
)
def test_what_is_not_needed_is_not_imported(names: str, absent: set[str]) -> None:
    code = (
        f"import sys; from unisd_core import {names}; sys.exit(bool({absent} & {{*sys.modules}}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
