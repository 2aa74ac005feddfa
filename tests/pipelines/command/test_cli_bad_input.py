"""Bad input to the main job: one clear line, exit code 2, nothing started."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import ray

from actors.runtime import ray_session as cluster
from pipelines.command.cli import build_parser, run_main
from pipelines.unisd_full import main


@pytest.fixture
def fail(capsys, tmp_path, monkeypatch, tiny_model):
    """Run the job with overrides; returns the single error line."""
    monkeypatch.setattr(cluster, "connect", lambda _: None)
    node = {"Alive": True, "Resources": {"CPU": 1.0}}
    monkeypatch.setattr(ray, "nodes", lambda: [node])

    def run(*overrides: str) -> str:
        arguments = [
            "--preset=demo",
            f"model.name_or_path={tiny_model}",
            f"output_dir={tmp_path / 'runs'}",
            *overrides,
        ]
        assert run_main(main, build_parser(), arguments) == 2
        captured = capsys.readouterr()
        (line,) = captured.err.strip().splitlines()
        assert line.startswith("error: ")
        return line

    return run


def write_rows(folder: Path, *lines: str) -> None:
    (folder / "cos_e").mkdir(parents=True)
    for split in ("train", "validation"):
        (folder / "cos_e" / f"{split}.jsonl").write_text("".join(f"{line}\n" for line in lines))


def row(number: int, **changes) -> str:
    fields = {
        "id": f"q{number}",
        "orig_index": number,
        "question": f"Which number is {number}?",
        "choices": ["one", "two", "three", "four", "five"],
        "answer_index": 0,
        "rationale": "It says so.",
        "hint": None,
        "subject": "test",
    }
    return json.dumps(fields | changes)


def test_unknown_key(fail):
    assert "training.step" in (line := fail("training.step=3")) and "training.max_steps" in line


def test_wrong_type(fail):
    assert "training.max_steps" in (line := fail("training.max_steps=many")) and "many" in line


def test_no_views(fail):
    assert "K must be at least 1" in fail("views.num_auxiliary=0")


def test_an_unknown_task_names_the_known_ones(fail):
    line = fail("task=minitool")
    assert "minitool" in line and "cos_e" in line


def test_missing_data_folder(fail, tmp_path):
    absent = tmp_path / "absent"
    line = fail("task=cos_e", f"data_dir={absent}")
    assert str(absent) in line


def test_malformed_row_is_named_by_file_and_line(fail, tmp_path):
    write_rows(tmp_path / "data", row(1), row(2), '{"id": "q3", "question":')
    line = fail("task=cos_e", f"data_dir={tmp_path / 'data'}")
    assert "train.jsonl:3" in line


def test_missing_field_is_named(fail, tmp_path):
    broken = json.loads(row(2))
    del broken["answer_index"]
    write_rows(tmp_path / "data", row(1), json.dumps(broken))
    line = fail("task=cos_e", f"data_dir={tmp_path / 'data'}")
    assert "train.jsonl:2" in line and "answer_index" in line


def test_empty_task(fail, tmp_path):
    write_rows(tmp_path / "data")
    assert "train" in fail("task=cos_e", f"data_dir={tmp_path / 'data'}")


def test_absent_model_folder(fail, tmp_path):
    assert str(tmp_path / "nothing") in fail(f"model.name_or_path={tmp_path / 'nothing'}")


def test_model_without_chat_template(fail, tiny_model, tmp_path):
    folder = tmp_path / "plain"
    shutil.copytree(tiny_model, folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert "chat template" in fail(f"model.name_or_path={folder}")


def test_tokenizer_with_more_ids_than_the_model(fail, tiny_model, tmp_path):
    folder = tmp_path / "narrow"
    shutil.copytree(tiny_model, folder)
    settings = json.loads((folder / "config.json").read_text())
    settings["vocab_size"] = 100
    (folder / "config.json").write_text(json.dumps(settings))
    line = fail(f"model.name_or_path={folder}")
    assert "ends at 99" in line and "vocabulary" in line


def test_limits_beyond_the_model(fail):
    line = fail("model.max_view_length=100000")
    assert "2048" in line and "model.max_view_length" in line


def test_a_cluster_that_is_too_small(fail):
    assert "1.7 CPUs but the cluster has 1.0" in fail("model.max_view_length=1900")


def test_a_mirror_that_cannot_be_reached(fail):
    line = fail("training.checkpoint_mirror=nowhere://bucket")
    assert "training.checkpoint_mirror=nowhere://bucket: Protocol not known" in line
