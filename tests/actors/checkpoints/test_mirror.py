"""Copies of checkpoints elsewhere: complete or not there, and enough to go on from."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from actors.checkpoints import folder as checkpoints
from actors.checkpoints.files import FILES, MARKER
from actors.checkpoints.mirror import CheckpointMirror, fetch_missing, mirror_of
from tests.support.checkpoints import make
from unisd_core.common.errors import UserError
from unisd_core.config.run import Config


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty place of either kind."""
    if request.param == "file":
        yield (tmp_path / "mirror").as_uri()
        return
    place = f"memory://mirror-{uuid.uuid4().hex}"
    yield place
    files, path = fsspec.core.url_to_fs(place)
    if files.exists(path):
        files.rm(path, recursive=True)


@pytest.fixture
def mirror(url: str) -> CheckpointMirror:
    return CheckpointMirror(url, "trial")


def copy(mirror: CheckpointMirror, folder: Path, *versions: int, keep: int = 9) -> None:
    for version in versions:
        mirror.put(checkpoints.save(folder, make(version), keep=9), keep)


def copies(url: str) -> list[str]:
    files, path = fsspec.core.url_to_fs(f"{url}/trial")
    return sorted(str(name).rpartition("/")[2] for name in files.ls(path, detail=False))


def damage(url: str, name: str, content: bytes | None) -> None:
    """Replace a file of the mirror, or delete it."""
    files, path = fsspec.core.url_to_fs(f"{url}/trial/{name}")
    if content is None:
        files.rm(path)
    else:
        files.pipe_file(path, content)


def test_a_run_without_checkpoints_goes_on_from_the_newest_copy(
    mirror: CheckpointMirror, tmp_path: Path
) -> None:
    copy(mirror, tmp_path / "old", 1, 2)
    new = tmp_path / "new"
    assert fetch_missing(new, mirror) == 2
    assert [path.name for path in new.iterdir()] == ["step-000002"]
    found = checkpoints.newest(new)
    assert found is not None and found.version == 2 and found.totals == {"rows": 4}


def test_a_run_with_a_checkpoint_of_its_own_goes_on_from_that(
    mirror: CheckpointMirror, tmp_path: Path
) -> None:
    copy(mirror, tmp_path / "old", 2)
    checkpoints.save(tmp_path / "own", make(1), keep=1)
    assert fetch_missing(tmp_path / "own", mirror) == 1
    assert len(list((tmp_path / "own").iterdir())) == 1


def test_a_broken_checkpoint_of_its_own_is_none(mirror: CheckpointMirror, tmp_path: Path) -> None:
    copy(mirror, tmp_path / "old", 1, 2)
    broken = checkpoints.save(tmp_path / "own", make(2), keep=1)
    (broken / FILES[0]).write_bytes(b"")
    lines: list[str] = []
    assert fetch_missing(tmp_path / "own", mirror, lines.append) == 2
    assert len(lines) == 1
    found = checkpoints.newest(tmp_path / "own", note=lines.append)
    assert found is not None and found.version == 2 and len(lines) == 1


@pytest.mark.parametrize("name", [MARKER, FILES[0], "state.json"])
@pytest.mark.parametrize("content", [None, b"torn"], ids=["missing", "torn"])
def test_a_torn_copy_is_skipped_for_the_one_before(
    mirror: CheckpointMirror, url: str, tmp_path: Path, name: str, content: bytes | None
) -> None:
    copy(mirror, tmp_path / "old", 1, 2)
    damage(url, f"step-000002/{name}", content)
    lines: list[str] = []
    assert fetch_missing(tmp_path / "new", mirror, lines.append) == 1
    (line,) = lines
    assert line.startswith("checkpoint step-000002 in training.checkpoint_mirror=")
    assert f"is skipped: {name}" in line
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["step-000001"]


def test_an_empty_mirror_has_none(mirror: CheckpointMirror, tmp_path: Path) -> None:
    assert fetch_missing(tmp_path / "new", mirror) is None
    assert fetch_missing(tmp_path / "new", None) is None


def test_a_copy_that_breaks_off_has_no_marker(
    mirror: CheckpointMirror, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy(mirror, tmp_path / "old", 1)
    put = type(mirror._files).put_file

    def failing(self: Any, source: str, target: str, **options: Any) -> None:
        if target.endswith("state.json"):
            raise ConnectionError("the line is down")
        put(self, source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(type(mirror._files), "put_file", failing)
        with pytest.raises(UserError, match=r"training\.checkpoint_mirror=.*the line is down"):
            copy(mirror, tmp_path / "old", 2)
    assert copies(url) == ["step-000001", "step-000002"]
    lines: list[str] = []
    assert fetch_missing(tmp_path / "new", mirror, lines.append) == 1
    assert len(lines) == 1 and MARKER in lines[0]
    copy(mirror, tmp_path / "old", 3)
    assert copies(url) == ["step-000001", "step-000003"]


def test_only_the_newest_are_kept_and_none_that_was_rolled_back(
    mirror: CheckpointMirror, url: str, tmp_path: Path
) -> None:
    copy(mirror, tmp_path / "old", 1, 2, 3, 4, keep=2)
    assert copies(url) == ["step-000003", "step-000004"]
    damage(url, f"step-000003/{MARKER}", None)
    copy(mirror, tmp_path / "other", 2, keep=2)
    assert copies(url) == ["step-000002"]


def test_a_copy_is_written_again_after_a_rollback(mirror: CheckpointMirror, tmp_path: Path) -> None:
    copy(mirror, tmp_path / "old", 1)
    copy(mirror, tmp_path / "old", 1)
    assert fetch_missing(tmp_path / "new", mirror) == 1


def config(**settings: Any) -> Config:
    return Config.model_validate({"name": "trial", **settings})


def test_the_place_belongs_to_one_configuration(mirror: CheckpointMirror, url: str) -> None:
    mirror.claim(config())
    mirror.claim(config(output_dir="/elsewhere", training={"max_steps": 7}))
    with pytest.raises(UserError, match=r"holds a run trial with another seed; .*name="):
        mirror.claim(config(seed=1))
    CheckpointMirror(url, "other").claim(config(seed=1))
    damage(url, "config.yaml", b"training: 3")
    with pytest.raises(UserError, match=r"trial/config\.yaml cannot be read .*; choose another"):
        mirror.claim(config())


def test_the_owner_is_no_checkpoint(mirror: CheckpointMirror, url: str, tmp_path: Path) -> None:
    mirror.claim(config())
    copy(mirror, tmp_path / "old", 1, 2, keep=1)
    assert copies(url) == ["config.yaml", "step-000002"]


def without_package(*_: Any, **__: Any) -> None:
    raise ImportError("Install s3fs to access S3")


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("unknown://bucket", "Protocol not known: unknown"),
        ("s3://bucket/folder", "Install s3fs"),
        ("relative/folder", "give a URL or an absolute path"),
        ("/dev/null/folder", "Not a directory"),
    ],
)
def test_a_place_that_cannot_be_used_is_one_line_that_names_the_key(
    place: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place.startswith("s3:"):
        monkeypatch.setattr("actors.checkpoints.mirror.url_to_fs", without_package)
    mirror = mirror_of(config(training={"checkpoint_mirror": place}))
    assert mirror is not None
    with pytest.raises(UserError) as raised:
        mirror.claim(config())
    line = str(raised.value)
    assert line.startswith(f"training.checkpoint_mirror={place}: ") and why in line
    assert len(line.splitlines()) == 1


def test_without_the_key_there_is_no_mirror() -> None:
    assert mirror_of(config()) is None
