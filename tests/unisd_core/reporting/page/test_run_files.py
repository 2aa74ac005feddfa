"""A run's folder is read whatever state it is in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unisd_core.reporting.page.folders import BATCH, line, write_lines, write_run
from unisd_core.common.errors import UserError
from unisd_core.reporting.page.run_files import changed_settings, is_number, read_run
from unisd_core.reporting.page.secrets import without_secrets


def test_a_finished_run_is_read_whole(tmp_path: Path):
    run = read_run(write_run(tmp_path / "whole", steps=4))
    assert run.finished and run.step == 4 and run.torn == 0
    assert run.numbers("rows") == [(step, BATCH) for step in range(1, 5)]
    (found,) = run.test_sets
    assert (found.name, found.rows) == ("seen", 50)
    assert found.before and found.after and found.change
    assert (found.before.value, found.after.value) == (found.change.base, found.change.final)
    assert found.before.low < 0.1 < found.before.high
    assert run.ledger and run.ledger.consumed == 4 * BATCH


def test_a_run_that_goes_on_shows_what_there_is(tmp_path: Path):
    folder = write_run(tmp_path / "going", steps=4, finished=False)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "loss": 0.')
    run = read_run(folder)
    assert (run.finished, run.step, run.torn) == (False, 4, 1)
    (found,) = run.test_sets
    assert found.before is not None and found.after is None and found.change is None


def test_a_folder_with_a_configuration_only_is_a_run(tmp_path: Path):
    folder = write_run(tmp_path / "new", steps=3)
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "config.yaml":
            path.unlink()
    run = read_run(folder)
    assert (run.step, run.test_sets, run.incidents, run.seconds) == (0, [], [], None)


@pytest.mark.parametrize(
    "text", ["[]", "null", "{}", '{"step": "x"}', '{"step": true}', "[" * 9999, "\0", "nonsense"]
)
def test_lines_of_another_form_are_left_out(tmp_path: Path, text: str):
    folder = write_run(tmp_path / "odd", steps=2)
    for name in ("metrics", "validation", "incidents"):
        with (folder / f"{name}.jsonl").open("a") as file:
            file.write(text + "\n")
    run = read_run(folder)
    assert (run.step, len(run.metrics), len(run.incidents)) == (2, 2, 1)


def test_parts_of_a_summary_that_are_of_another_release_are_missing_alone(tmp_path: Path):
    folder = write_run(tmp_path / "old", steps=2)
    summary = json.loads((folder / "summary.json").read_text())
    del summary["ledger"]["stale"]
    summary["accuracy"]["unseen"] = {"base": 0.5}
    summary["tokens_per_second"]["push"] = "fast"
    (folder / "summary.json").write_text(json.dumps(summary))
    run = read_run(folder)
    assert run.ledger is None and run.staleness is not None
    assert [one.name for one in run.test_sets] == ["seen"]
    assert set(run.tokens_per_second) == {"generate", "score", "learn"}


def test_values_that_are_no_finite_numbers_are_not_drawn(tmp_path: Path):
    folder = write_run(tmp_path / "bad", steps=1)
    values = [None, "0.5", float("nan"), float("inf"), True, 10**400, [1]]
    write_lines(folder / "metrics.jsonl", [line(n, loss=x) for n, x in enumerate(values, start=1)])
    assert read_run(folder).numbers("loss") == []


def test_a_folder_that_is_no_run_is_named(tmp_path: Path):
    with pytest.raises(UserError, match="holds no config.yaml"):
        read_run(tmp_path)


def test_settings_off_their_default_stand_beside_it(tmp_path: Path):
    run = read_run(write_run(tmp_path / "set", steps=3, seed=7))
    changed = changed_settings(run.settings)
    assert changed["seed"] == (7, 0)
    assert "training.batch_size" not in changed


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("s3://key:hunter2@bucket/folder", "hunter2"),
        ("https://host/path?X-Amz-Signature=hunter2", "hunter2"),
        ("https://host/path#hunter2", "hunter2"),
        ("lost (HF_TOKEN=hunter2 was refused)", "hunter2"),
        ("{'password': 'hunter2'}", "hunter2"),
        ("Authorization: Bearer hunter2", "hunter2"),
    ],
)
def test_credentials_are_not_shown(text: str, hidden: str):
    assert hidden not in without_secrets(text)
    assert hidden not in str(without_secrets([text]))


@pytest.mark.parametrize("text", ["s3://bucket/folder", "lost (push failed: 20 s)", "q_proj", ""])
def test_other_texts_stay(text: str):
    assert without_secrets(text) == text


@given(st.one_of(st.floats(), st.integers(), st.text(), st.none()))
def test_a_number_can_be_drawn(value):
    assert is_number(value) == (
        isinstance(value, (int, float)) and abs(value) < 1.8e308 and value == value
    )
