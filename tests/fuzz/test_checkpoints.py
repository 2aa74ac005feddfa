"""Checkpoints: whatever is in the folder, the newest whole one is found, or none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from actors.checkpoints.folder import Checkpoint, newest, save
from tests.fuzz.damage import MISPLACED, damaged_bytes, misplace, values
from tests.fuzz.harness import always, fuzz

TENSORS = {"a": torch.ones(2, 3), "b": torch.zeros(1)}
WHOLE = Checkpoint(1, TENSORS, TENSORS, TENSORS, {"outcomes": b"\x01"}, {"rows": 2}, {"clip": None})
FILES = (
    "adapter.safetensors", "optimizer.safetensors", "teacher.safetensors", "state.json",
    "complete.json",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


def saved(folder: Path) -> Path:
    """A whole checkpoint, alone in ``folder``."""
    shutil.rmtree(folder, ignore_errors=True)
    return save(folder, WHOLE, keep=1)


def check_newest(folder: Path) -> None:
    found = always("checkpoints", newest, folder)
    assert found is None or isinstance(found, Checkpoint)


@fuzz(25)
@given(st.data(), st.lists(st.sampled_from(FILES), min_size=1, max_size=2))
def test_damaged_files(folder: Path, data: st.DataObject, names: list[str]) -> None:
    path = saved(folder)
    for name in names:
        valid = (path / name).read_bytes()
        (path / name).write_bytes(data.draw(damaged_bytes(valid)))
    check_newest(folder)


@fuzz(15)
@given(values())
def test_a_marker_of_another_kind(folder: Path, value: object) -> None:
    path = saved(folder)
    (path / "complete.json").write_text(json.dumps(value))
    check_newest(folder)


@fuzz(10)
@given(
    st.sampled_from(
        ["step-", "step-x", "step-999999", "step--1", "step-0000009", ".step-000001.tmp", "other"]
    ),
    st.sampled_from(["{}", "[]", "null", "", '{"state.json": null}', '{"../x": "0"}']),
)
def test_folders_of_others(folder: Path, name: str, marker: str) -> None:
    saved(folder)
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "complete.json").write_text(marker)
    check_newest(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", MISPLACED)
def test_no_file_in_its_place(folder: Path, name: str, how: str) -> None:
    misplace(saved(folder) / name, how)
    check_newest(folder)
