"""Checkpoints are written beside the training: in order, one at a time, and no error is lost."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from actors.checkpoints import folder as checkpoints
from actors.checkpoints.folder import Checkpoint
from actors.checkpoints.writer import CheckpointWriter
from tests.support.checkpoints import make
from unisd_core.common.errors import UserError
from unisd_core.config.run import Config

PATIENCE_S = 60.0
"""Longest wait for a thread of a test; far more than any of them needs."""


def writer_in(run_path: Path, **training: Any) -> CheckpointWriter:
    return CheckpointWriter(Config.model_validate({"training": training}), run_path)


class SlowDisk:
    """Holds every write until it is let go."""

    def __init__(self) -> None:
        self.free, self.begun = threading.Event(), threading.Event()
        self.original = checkpoints.save
        self.at_once, self.most = 0, 0

    def save(self, folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        self.begun.set()
        assert self.free.wait(PATIENCE_S)
        self.at_once -= 1
        return self.original(folder, checkpoint, keep)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDisk]:
    slow = SlowDisk()
    monkeypatch.setattr(checkpoints, "save", slow.save)
    yield slow
    slow.free.set()


def test_submit_does_not_wait_for_the_disk_but_wait_does(tmp_path: Path, disk: SlowDisk) -> None:
    writer = writer_in(tmp_path)
    writer.submit(make(1))
    assert disk.begun.wait(PATIENCE_S)
    assert checkpoints.newest_step(writer.folder) is None
    disk.free.set()
    writer.wait()
    assert checkpoints.newest_step(writer.folder) == 1


def test_a_second_write_waits_for_the_first(tmp_path: Path, disk: SlowDisk) -> None:
    writer = writer_in(tmp_path, save_total_limit=9)

    def two() -> None:
        writer.submit(make(1))
        writer.submit(make(2))

    steps = threading.Thread(target=two)
    steps.start()
    assert disk.begun.wait(PATIENCE_S)
    steps.join(0.2)
    assert steps.is_alive(), "the second is not taken while the first is written"
    disk.free.set()
    steps.join(PATIENCE_S)
    writer.wait()
    assert disk.most == 1
    assert len(list(writer.folder.iterdir())) == 2


def test_what_was_written_is_let_go(tmp_path: Path) -> None:
    writer = writer_in(tmp_path)
    checkpoint = make(1)
    tensor = weakref.ref(checkpoint.adapter["a"])
    writer.submit(checkpoint)
    writer.wait()
    del checkpoint
    assert tensor() is None


@pytest.mark.parametrize("next_call", ["wait", "submit"])
def test_an_error_is_raised_once_by_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, next_call: str
) -> None:
    def full(*_: Any) -> Path:
        raise OSError(28, "No space left on device")

    writer = writer_in(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save", full)
        writer.submit(make(1))
        with pytest.raises(RuntimeError, match=r"checkpoint of step 1 was not written.*No space"):
            writer.wait() if next_call == "wait" else writer.submit(make(2))
    writer.wait()
    writer.submit(make(3))
    writer.wait()
    assert checkpoints.newest_step(writer.folder) == 3


def test_each_checkpoint_is_copied_to_the_mirror(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    settings = {"checkpoint_mirror": mirror.as_uri(), "save_total_limit": 2}
    writer = writer_in(tmp_path / "run", **settings)
    for version in range(4):
        writer.submit(make(version))
    writer.wait()
    copies = sorted(path.name for path in (mirror / "unisd").iterdir())
    assert copies == ["step-000002", "step-000003"]
    elsewhere = writer_in(tmp_path / "new machine", **settings)
    elsewhere.fetch_missing()
    found = checkpoints.newest(elsewhere.folder)
    assert found is not None and torch.equal(found.adapter["a"], make(3).adapter["a"])


def test_a_mirror_out_of_reach_is_an_error_that_names_the_key(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    writer = writer_in(tmp_path / "run", checkpoint_mirror=(tmp_path / "file" / "x").as_uri())
    writer.submit(make(1))
    with pytest.raises(UserError, match=r"^training\.checkpoint_mirror=file://"):
        writer.wait()
    assert checkpoints.newest_step(writer.folder) == 1
