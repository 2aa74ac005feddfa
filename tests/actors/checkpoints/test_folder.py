"""Checkpoints are there whole or not at all, and only as many as are to be kept."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from actors.admission.ledger import Ledger
from actors.checkpoints import files
from actors.checkpoints import folder as checkpoints
from actors.checkpoints.folder import MARKER
from tests.support.checkpoints import make


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    written = make(3)
    checkpoints.save(tmp_path, written, keep=2)
    read = checkpoints.newest(tmp_path)
    assert read is not None and read.version == 3 and read.totals == {"rows": 6}
    assert read.thresholds == {"clip": 1.5, "agreement_scale": None}
    assert torch.equal(read.adapter["a"], written.adapter["a"])
    restored = Ledger(rows=9, batch=2, staleness=1, steps=9, seed=0)
    restored.restore(read.ledger)
    restored.check()
    assert restored.counters()["consumed"] == 6 and restored.in_flight == 1


def test_the_incarnation_of_the_learners_is_kept(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, dataclasses.replace(make(3), incarnation=5), keep=2)
    read = checkpoints.newest(tmp_path)
    assert read is not None and read.incarnation == 5


def test_visits_that_were_handed_out_again_keep_their_attempts(tmp_path: Path) -> None:
    ledger = Ledger(rows=9, batch=2, staleness=1, steps=9, seed=0)
    ledger.admit(2)
    ledger.requeue()
    checkpoints.save(tmp_path, dataclasses.replace(make(0), ledger=ledger.state()), keep=1)
    read = checkpoints.newest(tmp_path)
    assert read is not None and read.ledger["attempts"] == {0: 1, 1: 1}


@given(seconds=st.floats(), scale=st.none() | st.floats())
def test_numbers_come_back_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, seconds: float, scale: float | None
) -> None:
    folder = tmp_path_factory.mktemp("numbers")
    thresholds = {"clip": None, "agreement_scale": scale}
    written = dataclasses.replace(make(1), totals={"seconds": seconds}, thresholds=thresholds)
    checkpoints.save(folder, written, keep=1)
    read = checkpoints.newest(folder)
    assert read is not None
    assert repr(read.totals) == repr(written.totals)
    assert repr(read.thresholds) == repr(written.thresholds)


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for version in range(4):
        checkpoints.save(tmp_path, make(version), keep=2)
    assert names(tmp_path) == ["step-000002", "step-000003"]


def test_steps_of_more_digits_are_newer(tmp_path: Path) -> None:
    for version in (999_999, 1_000_000):
        checkpoints.save(tmp_path, make(1, version=version), keep=2)
    assert checkpoints.newest_step(tmp_path) == 1_000_000


def test_what_was_rolled_back_or_is_broken_takes_no_place_of_what_is_kept(tmp_path: Path) -> None:
    for version in (2, 4, 6, 8):
        checkpoints.save(tmp_path, make(version), keep=9)
    for version in (4, 6, 8):
        (tmp_path / f"step-00000{version}" / MARKER).write_text("{")
    checkpoints.save(tmp_path, make(5), keep=2)
    assert names(tmp_path) == ["step-000002", "step-000005"]


def test_leftovers_of_a_killed_writer_do_no_harm_and_go_with_the_next_save(tmp_path: Path) -> None:
    path = checkpoints.save(tmp_path, make(1), keep=5)
    torn = tmp_path / ".step-000002.tmp"
    shutil.copytree(path, torn)
    (torn / "adapter.safetensors").write_bytes(b"torn")
    shutil.copytree(path, tmp_path / ".step-000001.old")
    newest = checkpoints.newest(tmp_path)
    assert newest is not None and newest.version == 1
    checkpoints.save(tmp_path, make(3), keep=5)
    assert names(tmp_path) == ["step-000001", "step-000003"]


def test_files_that_are_no_checkpoints_are_left_alone(tmp_path: Path) -> None:
    for name in ("step-000009-mine", "notes"):
        (tmp_path / name).mkdir()
    checkpoints.save(tmp_path, make(1), keep=1)
    assert names(tmp_path) == ["notes", "step-000001", "step-000009-mine"]


def test_an_empty_folder_has_none(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        assert checkpoints.newest(folder) is None
        assert checkpoints.newest_step(folder) is None


def test_a_checkpoint_that_is_pruned_while_it_is_read_gives_way_to_the_one_written_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.save(tmp_path, make(1), keep=1)
    original = files.load_file
    lines: list[str] = []

    def slow(path: Path) -> dict[str, torch.Tensor]:
        monkeypatch.setattr(files, "load_file", original)
        checkpoints.save(tmp_path, make(2), keep=1)
        return original(path)

    monkeypatch.setattr(files, "load_file", slow)
    found = checkpoints.newest(tmp_path, note=lines.append)
    assert found is not None and found.version == 2
    assert lines == ["checkpoint step-000001 is skipped: adapter.safetensors is missing"]


class Crash(Exception):
    """Stands for the end of the process."""


CALLS = ["save_file", "fsync", "replace", "rmtree", "mkdir", "write_text"]


def crash_at(monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> Callable[[], bool]:
    """Let the ``number``-th call of ``call`` fail; returns whether it was reached."""
    home = {"save_file": files, "rmtree": shutil, "mkdir": Path, "write_text": Path}.get(call, os)
    original, seen = getattr(home, call), [0]

    def wrapped(*arguments, **options):
        seen[0] += 1
        if seen[0] == number:
            raise Crash
        return original(*arguments, **options)

    monkeypatch.setattr(home, call, wrapped)
    return lambda: seen[0] >= number


@pytest.mark.parametrize("version", [2, 1], ids=["next", "again"])
@pytest.mark.parametrize("call", CALLS)
def test_a_crash_at_any_point_of_a_save_costs_at_most_the_new_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, version: int
) -> None:
    for number in range(1, 20):
        folder = tmp_path / str(number)
        checkpoints.save(folder, make(1), keep=1)
        with monkeypatch.context() as patch:
            reached = crash_at(patch, call, number)
            with suppress(Crash):
                checkpoints.save(folder, make(version), keep=1)
            if not reached():
                break
        lines: list[str] = []
        found = checkpoints.newest(folder, note=lines.append)
        assert found is not None and found.version in (1, version) and not lines
        checkpoints.save(folder, make(3), keep=1)
        assert names(folder) == ["step-000003"]
    else:
        raise AssertionError(f"{call} has no last call")
    assert number > 1, "nothing has crashed"


def test_state_is_plain_json(tmp_path: Path) -> None:
    path = checkpoints.save(tmp_path, make(1), keep=1)
    assert json.loads((path / "state.json").read_text())["version"] == 1
