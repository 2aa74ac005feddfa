"""A damaged checkpoint is skipped with one line that says why; the one before it is used."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.checkpoints import folder as checkpoints
from actors.checkpoints.files import FILES
from actors.checkpoints.folder import MARKER
from tests.support.checkpoints import make


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with checkpoints 1 and 2, which no test changes."""
    folder = tmp_path_factory.mktemp("two")
    for version in (1, 2):
        checkpoints.save(folder, make(version), keep=2)
    return folder


@pytest.fixture
def broken(two: Path, tmp_path: Path) -> Path:
    """Checkpoint 2 of a copy of them, to be damaged."""
    shutil.copytree(two, tmp_path / "run")
    return tmp_path / "run" / "step-000002"


def skipped(folder: Path) -> str:
    """The line with which checkpoint 2 is skipped for checkpoint 1."""
    lines: list[str] = []
    found = checkpoints.newest(folder, note=lines.append)
    assert found is not None and found.version == 1
    (line,) = lines
    start = "checkpoint step-000002 is skipped: "
    assert line.startswith(start) and len(line.splitlines()) == 1
    return line.removeprefix(start)


def sign(checkpoint: Path) -> None:
    """Make the marker agree with the files."""
    sums = {name: hashlib.sha256((checkpoint / name).read_bytes()).hexdigest() for name in FILES}
    (checkpoint / MARKER).write_text(json.dumps(sums))


@given(data=st.data())
def test_any_flipped_byte_or_lost_end_of_any_file_is_noticed(
    two: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged") / "run"
    shutil.copytree(two, folder)
    path = folder / "step-000002" / data.draw(st.sampled_from([*FILES, MARKER]))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= data.draw(st.integers(1, 255))
    else:
        del content[place:]
    path.write_bytes(content)
    skipped(folder)
    shutil.rmtree(folder.parent)


@pytest.mark.parametrize("name", [*FILES, MARKER])
def test_a_missing_file_is_named(broken: Path, name: str) -> None:
    (broken / name).unlink()
    assert skipped(broken.parent) == f"{name} is missing"
    assert checkpoints.newest_step(broken.parent) == 1


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "torn {", '{"adapter.safetensors": 1}', "[" * 100_000, "\udcff"],
    ids=["empty", "list", "null", "torn", "number", "deep", "no text"],
)
def test_a_marker_that_is_no_marker(broken: Path, text: str) -> None:
    (broken / MARKER).write_bytes(text.encode(errors="surrogateescape"))
    assert MARKER in skipped(broken.parent)
    assert checkpoints.newest_step(broken.parent) == 1


@pytest.mark.parametrize("name", ["../step-000001/state.json", "/etc/hostname", "other.json", ".."])
@pytest.mark.parametrize("instead", [True, False])
def test_a_marker_that_lists_other_files(broken: Path, name: str, instead: bool) -> None:
    sums = json.loads((broken / MARKER).read_text())
    sums[name] = sums.pop(FILES[0]) if instead else "0"
    (broken / MARKER).write_text(json.dumps(sums))
    assert skipped(broken.parent) == f"{MARKER} lists other files than a checkpoint has"
    assert checkpoints.newest_step(broken.parent) == 1


def drop(*keys: str) -> Callable[[dict[str, Any]], None]:
    def change(state: dict[str, Any]) -> None:
        for key in keys[:-1]:
            state = state[key]
        del state[keys[-1]]

    return change


def put(value: Any, *keys: str) -> Callable[[dict[str, Any]], None]:
    def change(state: dict[str, Any]) -> None:
        for key in keys[:-1]:
            state = state[key]
        state[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (drop("version"), "version"),
        (drop("ledger"), "ledger"),
        (drop("ledger", "outcomes"), "ledger.outcomes"),
        (drop("thresholds", "clip"), "thresholds.clip"),
        (put("2", "version"), "version"),
        (put(True, "version"), "version"),
        (put(1, "version"), "is of step 1"),
        (put("?", "ledger", "outcomes"), "ledger.outcomes"),
        (put("/w==", "ledger", "outcomes"), "255 is not a valid Outcome"),
        (put([1, 2], "ledger", "order"), "ledger.order"),
        (put({"x": 1}, "ledger", "attempts"), "ledger.attempts"),
        (put([], "totals"), "totals"),
        (put({"rowz": 1}, "totals"), "rowz is unknown"),
        (put({"rows": "many"}, "totals"), "totals.rows"),
        (put("low", "thresholds", "clip"), "thresholds.clip"),
    ],
)
def test_a_state_that_fits_its_checksum_but_not_the_run(
    broken: Path, change: Callable[[dict[str, Any]], None], why: str
) -> None:
    state = json.loads((broken / "state.json").read_text())
    change(state)
    (broken / "state.json").write_text(json.dumps(state))
    sign(broken)
    line = skipped(broken.parent)
    assert why in line and "state.json" in line


@pytest.mark.parametrize("text", ["", "[]", "{", "3"])
def test_a_state_that_is_no_state(broken: Path, text: str) -> None:
    (broken / "state.json").write_text(text)
    sign(broken)
    assert "state.json" in skipped(broken.parent)


@pytest.mark.parametrize(
    "content",
    [b"", b"no tensors at all", b"\xff" * 64, b"\x80\x04K\x01.", b"\x02" + bytes(7) + b"[]"],
    ids=["empty", "text", "huge header", "pickle", "list"],
)
def test_tensors_that_fit_their_checksum_but_are_none(broken: Path, content: bytes) -> None:
    (broken / "optimizer.safetensors").write_bytes(content)
    sign(broken)
    assert "optimizer.safetensors" in skipped(broken.parent)


def test_a_folder_in_the_place_of_a_file(broken: Path) -> None:
    (broken / "teacher.safetensors").unlink()
    (broken / "teacher.safetensors").mkdir()
    assert "teacher.safetensors" in skipped(broken.parent)


def test_a_file_in_the_place_of_a_checkpoint(broken: Path) -> None:
    shutil.rmtree(broken)
    broken.write_text("not a folder")
    skipped(broken.parent)
    assert checkpoints.newest_step(broken.parent) == 1
    checkpoints.save(broken.parent, make(3), keep=2)
    assert checkpoints.newest_step(broken.parent) == 3


def test_lines_are_logged_where_nobody_takes_them(
    broken: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (broken / FILES[0]).unlink()
    with caplog.at_level(logging.WARNING):
        assert checkpoints.newest(broken.parent) is not None
    assert "step-000002 is skipped" in caplog.text


def test_where_all_are_broken_there_is_none(broken: Path) -> None:
    for path in broken.parent.iterdir():
        (path / FILES[0]).write_bytes(b"")
    lines: list[str] = []
    assert checkpoints.newest(broken.parent, note=lines.append) is None
    assert [line.split()[1] for line in lines] == ["step-000002", "step-000001"]


def test_a_checkpoint_of_before_incarnations_were_counted_can_be_read(broken: Path) -> None:
    state = json.loads((broken / "state.json").read_text())
    assert state.pop("incarnation") == 0
    (broken / "state.json").write_text(json.dumps(state))
    sign(broken)
    found = checkpoints.newest(broken.parent)
    assert found is not None and (found.version, found.incarnation) == (2, 0)
