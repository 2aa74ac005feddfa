"""Scratch folders last as long as their process, and no longer than until the next is made."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from unisd_core.common import scratch
from unisd_core.common.scratch import scratch_folder, sweep

OWNER = """
import sys, time
from pathlib import Path
from unisd_core.common.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "weights").mkdir()
    (folder / "weights" / "file").write_text("large")
    print(folder, flush=True)
    time.sleep(600)
"""


@contextmanager
def owner(place: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process with a scratch folder in ``place``."""
    command = [sys.executable, "-c", OWNER, str(place)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, Path(process.stdout.readline().strip())
    finally:
        process.kill()
        process.wait()


def test_a_folder_goes_with_the_block_that_made_it(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), scratch_folder(tmp_path) as folder:
        (folder / "file").touch()
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_had_is_removed_when_the_next_folder_is_made(tmp_path: Path) -> None:
    with owner(tmp_path) as (process, left):
        assert (left / "weights" / "file").exists()
        process.kill()
        process.wait()
        assert left.exists(), "nobody has come by yet"
        with scratch_folder(tmp_path) as folder:
            assert list(tmp_path.iterdir()) == [folder]


def test_what_somebody_still_works_with_is_left_alone(tmp_path: Path) -> None:
    with owner(tmp_path) as (_, used), scratch_folder(tmp_path) as folder:
        sweep(tmp_path)
        assert set(tmp_path.iterdir()) == {used, folder}
        assert (used / "weights" / "file").exists()


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    others = tmp_path / "unisd-push-of-somebody", tmp_path / f"{scratch.PREFIX}file"
    others[0].mkdir()
    others[1].touch()
    with scratch_folder(tmp_path) as folder:
        assert set(tmp_path.iterdir()) == {*others, folder}


def test_a_folder_that_is_swept_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    make = scratch.tempfile.mkdtemp

    def swept_at_once(**options: object) -> str:
        folder = make(**options)
        made.append(Path(folder))
        if len(made) == 1:
            sweep(tmp_path)
        return folder

    monkeypatch.setattr(scratch.tempfile, "mkdtemp", swept_at_once)
    with scratch_folder(tmp_path) as folder:
        assert len(made) == 2 and folder == made[1] and folder.is_dir()


def test_folders_work_where_there_are_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(scratch.fcntl, "flock", without)
    with scratch_folder(tmp_path) as folder:
        sweep(tmp_path)
        assert folder.is_dir()


KEEPER = """
import os, sys
from pathlib import Path
from unisd_core.common.scratch import keep_scratch_folder
folder = keep_scratch_folder(Path(sys.argv[1]))
if os.fork() == 0:
    sys.exit()
os.wait()
assert folder.is_dir(), "a copy of the process has removed it"
"""


def test_a_kept_folder_goes_with_its_process(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KEEPER, str(tmp_path)], check=True)
    assert not list(tmp_path.iterdir())


def test_folders_of_other_users_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with owner(tmp_path) as (process, left):
        process.kill()
        process.wait()
        monkeypatch.setattr(scratch.os, "getuid", lambda: left.stat().st_uid + 1)
        sweep(tmp_path)
        assert left.is_dir()
