"""The campaign sees every file that a run leaves, and none that somebody works with."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.files import SHARED_MEMORY, in_shared_memory, left_files
from unisd_core.common.scratch import scratch_folder

pytestmark = pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="no shared memory")


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    temporary, run = tmp_path / "temporary", tmp_path / "run"
    (temporary / "ray" / "session_1" / "logs").mkdir(parents=True)
    (run / "checkpoints" / "step-000002").mkdir(parents=True)
    (run / "checkpoints" / "step-000002" / "rng.json").touch()
    yield temporary, run


def names(before: set[Path], folders: tuple[Path, Path]) -> set[str]:
    return {Path(line.split()[0]).name for line in left_files(before, *folders)}


def test_a_run_that_cleans_up_leaves_nothing(folders: tuple[Path, Path]) -> None:
    assert names(in_shared_memory(), folders) == set()


def test_what_nobody_will_remove_is_found(folders: tuple[Path, Path]) -> None:
    temporary, run = folders
    spilled = temporary / "ray" / "session_1" / "ray_spilled_objects_0"
    for folder in (spilled, temporary / "unisd-push", run / "checkpoints" / ".step-000004.tmp"):
        folder.mkdir()
    (spilled / "object").touch()
    (temporary / "unisd-push" / "model").write_bytes(bytes(10))
    left = left_files(in_shared_memory(), *folders)
    assert {Path(line.split()[0]).name for line in left} == {
        "object", "unisd-push", ".step-000004.tmp",
    }  # fmt: skip
    assert f"{temporary / 'unisd-push'} (10 bytes)" in left


def test_shared_memory_counts_once_nobody_uses_it(folders: tuple[Path, Path]) -> None:
    before = in_shared_memory()
    semaphore = multiprocessing.get_context("spawn").Lock()
    name = f"sem.{semaphore._semlock.name.removeprefix('/')}"  # type: ignore[attr-defined]
    with scratch_folder(SHARED_MEMORY) as used:
        (used / "weights").touch()
        left = SHARED_MEMORY / f"{used.name}-left"
        left.mkdir()
        try:
            found = names(before, folders)
            assert left.name in found and not {used.name, name} & found
        finally:
            left.rmdir()
