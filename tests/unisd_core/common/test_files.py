from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from unisd_core.common.files import atomic_path, json_lines, replace_file


@pytest.fixture(params=[0o022, 0o027, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_replaced_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_an_error_changes_nothing(
    tmp_path: Path, shared: bool, failure: type[BaseException]
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(failure), atomic_path(path, shared=shared) as temporary:
        temporary.write_text("ne")
        raise failure
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_what_a_killed_writer_left_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic_path(path) as temporary:
        left = temporary
    left.write_text("torn, and longer than the new text")
    left.chmod(0o600)
    replace_file(path, "new")
    assert path.read_text() == "new"
    assert mode(path) != 0o600
    assert os.listdir(tmp_path) == ["a.txt"]


def test_writers_that_share_a_path_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic_path(path, shared=True) as one, atomic_path(path, shared=True) as other:
        assert one != other
        one.write_text("same")
        other.write_text("same")
    assert path.read_text() == "same"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_file_has_the_mode_of_the_umask_whoever_wrote_it(tmp_path: Path, umask: int) -> None:
    with atomic_path(tmp_path / "a.safetensors") as temporary:
        save_file({"a": torch.ones(2)}, temporary)
        assert mode(temporary) == 0o600
    replace_file(tmp_path / "b.txt", "b")
    for path in tmp_path.iterdir():
        assert mode(path) == 0o666 & ~umask


def test_a_line_that_is_torn_or_no_object_has_no_fields(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    texts = [b'{"step": 1}', b"", b"\xff\x00", b"[1]", b"[" * 100_000]
    texts += [b"\xef\xbb\xbf{}", b'{"a": "\xe2\x80\xa8"}']
    path.write_bytes(b"\n".join(texts) + b'\n{"step": 2')
    found = json_lines(path)
    assert [line.text for line in found] == [*texts, b'{"step": 2']
    assert [line.fields for line in found] == [
        {"step": 1}, None, None, None, None, None, {"a": "\u2028"}, None
    ]  # fmt: skip
    assert [line.ended for line in found] == [True] * 7 + [False]


@given(st.lists(st.dictionaries(st.text(), st.integers() | st.text()), max_size=5), st.booleans())
def test_lines_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, objects: list[dict[str, object]], ended: bool
) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    text = "\n".join(json.dumps(one) for one in objects) + "\n" * bool(ended and objects)
    path.write_text(text)
    assert [line.fields for line in json_lines(path)] == objects


def test_no_file_has_no_lines_and_a_folder_is_an_error(tmp_path: Path) -> None:
    assert json_lines(tmp_path / "none.jsonl") == []
    with pytest.raises(OSError):
        json_lines(tmp_path)
