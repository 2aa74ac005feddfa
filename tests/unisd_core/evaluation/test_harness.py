from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from unisd_core.common.errors import UserError
from unisd_core.config.data import CustomConfig
from unisd_core.evaluation.harness import MODULE, export_test_set, score_document
from unisd_core.tasks.registry import load_task

ARGUMENTS = {
    "name": "minitools",
    "data_dir": None,
    "seed": 0,
    "custom": CustomConfig().model_dump(),
}


class _Loader(yaml.SafeLoader):
    """Reads the harness's function tag as its text."""


_Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("harness")
    task = load_task("minitools", None, 0)
    name = export_test_set(folder, "minitools_seen", task, task.rows("seen")[:20], ARGUMENTS)
    assert name == "unisd_minitools_seen"
    return folder


def documents(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "minitools_seen.jsonl").read_text().splitlines()]


def test_the_task_file_names_rows_limit_and_metric(exported: Path) -> None:
    settings = yaml.load((exported / "minitools_seen.yaml").read_text(), _Loader)  # noqa: S506
    assert settings["generation_kwargs"]["max_gen_toks"] == 64
    assert settings["process_results"] == f"{MODULE}.process_results"
    assert Path(settings["dataset_kwargs"]["data_files"]["test"]).is_file()
    assert (exported / f"{MODULE}.py").is_file()


def test_exported_rows_are_scored_as_the_task_scores_them(exported: Path) -> None:
    rows = load_task("minitools", None, 0).rows("seen")[:20]
    found = documents(exported)
    assert [document["prompt"] for document in found] == [row.prompt for row in rows]
    for document, row, other in zip(found, rows, rows[1:] + rows[:1], strict=True):
        assert score_document(document, row.reference) == {"correct": 1.0, "extracted": 1.0}
        assert score_document(document, other.reference)["correct"] == 0.0
        assert score_document(document, "I do not know.")["extracted"] == 0.0


def test_every_field_is_text_so_that_rows_of_one_file_have_one_type(exported: Path) -> None:
    assert all(isinstance(value, str) for line in documents(exported) for value in line.values())


def test_private_rows_are_not_written(tmp_path: Path) -> None:
    task = load_task("gpqa", str(tmp_path), 0)
    with pytest.raises(UserError, match="gpqa.*not written out"):
        export_test_set(tmp_path / "out", "gpqa_main", task, [], ARGUMENTS)
    assert not (tmp_path / "out").exists()
