"""The files of a torn run, of an evaluation and of a grid: read as far as they are whole."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import save

from pipelines.ablation.grid import Cell
from pipelines.ablation.results import append_result, collect, is_finished, read_results
from pipelines.evaluation.results import _read_identity
from pipelines.training.inputs import FILE, Inputs
from pipelines.training.status_line import last_line
from pipelines.training.validation import LINES, WEIGHTS, best_weights, is_over, known_lines
from tests.fuzz.damage import (
    MISPLACED,
    damaged_bytes,
    damaged_fields,
    json_object,
    misplace,
    values,
)
from tests.fuzz.harness import accepted, always, fuzz
from unisd_core.config.run import Config, OutputsConfig
from unisd_core.evaluation.comparison import ResultLine, compare
from unisd_core.models.completion_cache import CompletionText, TextCache
from unisd_core.models.saved_weights import find_saved
from unisd_core.reporting.run_dir import RunDir
from unisd_core.tasks.digests import digest_rows, first_difference
from unisd_core.tasks.row import Row

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "minitools.jsonl"
RESULT = RESULTS.read_bytes().split(b"\n")[0] + b"\n"
METRICS = b"".join(json.dumps({"step": n, "loss": 0.5}).encode() + b"\n" for n in range(1, 5))
MEASURED = {"step": 10, "accuracy": 0.5, "low": 0.4, "high": 0.6, "rows": 8, "best": True}
ADAPTER = {
    "r": 2,
    "lora_alpha": 16,
    "target_modules": ["q_proj"],
    "bias": "none",
    "use_rslora": True,
    "init_lora_weights": True,
    "layers_to_transform": None,
    "base_model_name_or_path": "/data/model",
    "revision": None,
}
PAIR = {f"base_model.model.q_proj.lora_{side}.weight": torch.ones(2, 2) for side in "AB"}
SUMMARY = {
    "steps": 3,
    "accuracy": {},
    "seconds": {"total": 1.5, "learn": 1.0},
    "tokens_per_second": {"learn": 7.5},
    "mechanisms": {"clipped_fraction": None},
    "versions": {"torch": "2"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


def lines_of(valid: Mapping[str, Any]) -> st.SearchStrategy[bytes]:
    """A few lines like ``valid``, with fields of other types, of which some bytes are damaged."""
    line = damaged_fields(valid).flatmap(json_object) | values().map(json.dumps)
    joined = st.lists(line, max_size=4).map(lambda found: "".join(f"{x}\n" for x in found))
    return joined.map(str.encode).flatmap(damaged_bytes)


@fuzz(50)
@given(damaged_bytes(METRICS) | lines_of({"step": 3, "loss": 0.5}), st.integers(0, 5))
@example(b'{"step": 1}\n\xff\x00\n', 2)
@example(b'{"step": 1' + b"0" * 400 + b"}\n", 2)
@example(b"[" * 100_000 + b"\n", 2)
@example(b'{\r"step": 1}\n', 2)
def test_metrics_of_a_torn_run(folder: Path, data: bytes, step: int) -> None:
    path = folder / "metrics.jsonl"
    path.write_bytes(data)
    run = RunDir(folder, OutputsConfig(tensorboard=False))
    always("run files: metrics", run.resume_from, step)
    for line in filter(None, path.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n")):
        assert json.loads(line)["step"] <= step
    run.log(step + 1, {"loss": 0.25})
    assert always("run files: metrics", last_line, path)["step"] == step + 1  # type: ignore[index]


@pytest.mark.parametrize("name", ["step-x.parquet", "step-.parquet", "step-9-part-0.parquet"])
def test_files_of_others_among_the_trajectories(tmp_path: Path, name: str) -> None:
    (tmp_path / "trajectories").mkdir()
    (tmp_path / "trajectories" / name).write_text("")
    (tmp_path / "trajectories" / "step-000008").mkdir()
    always("run files: trajectories", RunDir(tmp_path, OutputsConfig()).resume_from, 5)
    assert (tmp_path / "trajectories" / name).exists() == ("9" not in name)


@fuzz(50)
@given(lines_of(MEASURED))
@example(b"\xff\n")
@example(b'{"step": 5, "acc{"step": 10, "best": true}\n')
def test_validation_of_a_torn_run(folder: Path, data: bytes) -> None:
    (folder / LINES).write_bytes(data)
    lines = always("run files: validation", known_lines, folder)
    assert max((one["accuracy"] for one in lines), default=-1) is not None
    settings = {"eval_steps": 10, "early_stopping_patience": 1}
    assert is_over(lines, Config.model_validate({"evaluation": settings})) in (True, False)


@fuzz(25)
@given(damaged_bytes(save({"a": torch.ones(3)})))
def test_the_best_weights(folder: Path, data: bytes) -> None:
    (folder / LINES).write_text(json.dumps(MEASURED) + "\n")
    (folder / WEIGHTS).write_bytes(data)
    accepted("run files: best weights", [folder / WEIGHTS], lambda: best_weights(folder))


@fuzz(25)
@given(st.data())
def test_digests_of_the_inputs(folder: Path, data: st.DataObject) -> None:
    path, rows = folder / FILE, [Row(f"question {n}", "answer") for n in range(3)]
    known = digest_rows(rows)
    Inputs({"training set": known}, {"tokenizer": "0f"}).save(path)
    path.write_bytes(data.draw(damaged_bytes(path.read_bytes())))
    found = accepted("run files: inputs", [path], lambda: Inputs.load(path))
    for digests in found.rows.values() if found else []:
        assert first_difference(digests.parts_NP, known.parts_NP, rows, lambda row: row.uid)


@fuzz(40)
@given(damaged_bytes(RESULT) | lines_of(json.loads(RESULT)))
@example(RESULT.replace(b'"base_bits":"00', b'"base_bits":"'))
@example(RESULT.replace(b'"base_bits":"00', b'"base_bits":"0'))
@example(RESULT + RESULT.replace(b'"rows":100', b'"rows":99').replace(b'"seed":0', b'"seed":1'))
def test_results_of_a_grid(folder: Path, data: bytes) -> None:
    path = folder / "results.jsonl"
    path.write_bytes(data)
    found = accepted("run files: grid results", [path], lambda: read_results(path))
    if found is None:
        return
    sets = {name for line in found for name in line.test_sets}
    accepted("run files: comparison", ["line", *sets], lambda: compare(found, "sft", resamples=100))
    append_result(path, ResultLine.model_validate_json(RESULT))
    assert len(read_results(path)) == len(found) + 1


@fuzz(30)
@given(
    damaged_bytes(json.dumps(SUMMARY).encode())
    | damaged_fields(SUMMARY).flatmap(json_object).map(str.encode)
)
def test_the_summary_of_a_finished_run(folder: Path, data: bytes) -> None:
    cell = Cell("sft", "sft", Config(output_dir=str(folder), name="done"), ())
    cell.folder.mkdir(exist_ok=True)
    (cell.folder / "summary.json").write_bytes(data)
    accepted("run files: summary", [cell.folder], lambda: collect(cell))
    accepted("run files: summary", [cell.folder], lambda: is_finished(cell))


@fuzz(25)
@given(damaged_bytes(b'{"identity": {"a": 1}}') | values().map(lambda x: json.dumps(x).encode()))
@example(b"[" * 100_000)
def test_results_of_an_evaluation(folder: Path, data: bytes) -> None:
    path = folder / "results.json"
    path.write_bytes(data)
    always("run files: evaluation", _read_identity, path)


@fuzz(25)
@given(damaged_bytes(b'{"text": "a", "finished": true}') | lines_of({"text": "", "finished": True}))
def test_kept_texts(folder: Path, data: bytes) -> None:
    cache, key = TextCache(folder / "texts"), "ab" * 32
    cache.put(key, CompletionText("x", True))
    (folder / "texts" / "ab" / f"{key}.json").write_bytes(data)
    found = always("run files: kept text", cache.get, key)
    assert found is None or isinstance(found.text, str)


@fuzz(25)
@given(
    damaged_fields(ADAPTER).flatmap(json_object).map(str.encode)
    | damaged_bytes(json.dumps(ADAPTER).encode()),
    st.just(save(PAIR)) | damaged_bytes(save(PAIR)),
)
@example(json.dumps(ADAPTER | {"target_modules": "("}).encode(), save(PAIR))
@example(json.dumps(ADAPTER | {"target_modules": "all-linear"}).encode(), save(PAIR))
@example(json.dumps(ADAPTER | {"base_model_name_or_path": "~x/\x00"}).encode(), save(PAIR))
@example(json.dumps(ADAPTER | {"base_model_name_or_path": "a" * 9000}).encode(), save(PAIR))
@example(json.dumps(ADAPTER | {"layers_to_transform": "q"}).encode(), save(PAIR))
def test_adapters(folder: Path, settings: bytes, tensors: bytes) -> None:
    adapter = folder / "adapter"
    adapter.mkdir(exist_ok=True)
    (adapter / "adapter_config.json").write_bytes(settings)
    (adapter / "adapter_model.safetensors").write_bytes(tensors)
    accepted("run files: adapter", [adapter], lambda: find_saved(str(adapter), Config()))


@pytest.mark.parametrize("how", MISPLACED)
def test_no_file_in_its_place(tmp_path: Path, how: str) -> None:
    run = misplace(tmp_path / "run" / LINES, how).parent
    accepted("run files: misplaced", [run], lambda: best_weights(run))
    results = misplace(tmp_path / "grid" / "results.jsonl", how)
    accepted("run files: misplaced", [results], lambda: read_results(results))
    summary = misplace(tmp_path / "done" / "summary.json", how)
    cell = Cell("sft", "sft", Config(output_dir=str(tmp_path), name="done"), ())
    accepted("run files: misplaced", [summary.parent], lambda: collect(cell))
    identity = misplace(tmp_path / "evaluation" / "results.json", how)
    always("run files: misplaced", _read_identity, identity)
    text = misplace(tmp_path / "texts" / "ab" / "abc.json", how)
    always("run files: misplaced", TextCache(text.parents[1]).get, "abc")
