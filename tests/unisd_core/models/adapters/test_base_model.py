"""An adapter's base against the model it is used on: the same, another, or not to be told."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest

from tests.support.tiny import make_tiny_model
from unisd_core.common.errors import UserError
from unisd_core.models.adapters.base_model import check_base, is_same_model

HUB = "/home/someone/.cache/huggingface/hub"
REV, NEW = "a" * 40, "b" * 40
QWEN = f"{HUB}/models--Qwen--Qwen2.5-0.5B-Instruct/snapshots/{REV}"
SMOL = "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.fixture(autouse=True)
def no_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNISD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("named", "revision", "used", "same"),
    [
        ("Qwen/Qwen2.5-0.5B-Instruct", "", "Qwen/Qwen2.5-0.5B-Instruct", True),
        ("qwen/qwen2.5-0.5b-instruct", "", "Qwen/Qwen2.5-0.5B-Instruct", True),
        ("Qwen/Qwen2.5-0.5B-Instruct", "main", "Qwen/Qwen2.5-0.5B-Instruct", True),
        (QWEN, "", "Qwen/Qwen2.5-0.5B-Instruct", True),
        ("Qwen/Qwen2.5-0.5B-Instruct", REV, QWEN, True),
        (f"/x/unisd/models/{SMOL.replace('/', '--')}-from-gguf", "", SMOL, True),
        # Others.
        ("Qwen/Qwen2.5-0.5B", "", "Qwen/Qwen2.5-0.5B-Instruct", False),
        ("gpt2", "", "Qwen/Qwen2.5-0.5B-Instruct", False),
        (QWEN, "", "Qwen/Qwen2.5-1.5B-Instruct", False),
        ("meta-llama/Llama-3.2-1B", "", QWEN, False),
        (f"/x/unisd/models/{SMOL.replace('/', '--')}-from-gguf", "", "gpt2", False),
        # Another commit, a copy under another owner, and folders of another machine.
        ("Qwen/Qwen2.5-0.5B-Instruct", NEW, QWEN, None),
        ("unsloth/Qwen2.5-0.5B-Instruct", "", "Qwen/Qwen2.5-0.5B-Instruct", None),
        ("/data/llama", "", "Qwen/Qwen2.5-0.5B-Instruct", None),
        ("./llama", "", "Qwen/Qwen2.5-0.5B-Instruct", None),
        ("models/llama", "", "Qwen/Qwen2.5-0.5B-Instruct", None),
        ("C:\\models\\llama", "", "Qwen/Qwen2.5-0.5B-Instruct", None),
        ("~nobody-here/llama", "", "Qwen/Qwen2.5-0.5B-Instruct", None),
        ("a" * 5000, "", "/data/llama", None),
        ("\x00", "", "\ud800", None),
    ],
)
def test_names_tell_models_apart_where_they_can(
    named: str, revision: str, used: str, same: bool | None
) -> None:
    assert is_same_model(named, revision, used) is same


def test_folders_are_compared_by_what_they_hold(tiny_model: Path, tmp_path: Path) -> None:
    here, wide = str(tiny_model), str(make_tiny_model(tmp_path / "wide", intermediate_size=96))
    copy = str(shutil.copytree(tiny_model, tmp_path / "copy"))
    other = str(make_tiny_model(tmp_path / "other", seed=1))
    (tmp_path / "link").symlink_to(tiny_model)
    assert is_same_model(here, "", here) is True
    assert is_same_model(str(tmp_path / "link"), "", here) is True
    assert is_same_model("copy", "", here) is True
    assert is_same_model(here, "", copy) is True
    assert is_same_model(wide, "", here) is False
    # Of the same shape: another type of the same weights, or another model.
    assert is_same_model(other, "", here) is None
    assert is_same_model(here, "", "Qwen/Qwen2.5-0.5B-Instruct") is None


def test_a_folder_that_is_named_like_an_id_is_a_folder(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "Qwen" / "Tiny")
    assert is_same_model("Qwen/Tiny", "", str(tiny_model)) is True


def test_a_cached_copy_under_another_id_is_the_same_model(tiny_model: Path, tmp_path: Path) -> None:
    for name in ("a--one", "b--two"):
        folder = tmp_path / "hub" / f"models--{name}"
        shutil.copytree(tiny_model, folder / "snapshots" / REV)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(REV)
    assert is_same_model("a/one", "", "b/two") is True
    config = tmp_path / "hub" / "models--b--two" / "snapshots" / REV / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_hidden_layers": 3}))
    assert is_same_model("a/one", "", "b/two") is False
    # One id is one model, though its files were changed.
    assert is_same_model("b/two", "", str(config.parent)) is True
    assert is_same_model("b/two", NEW, str(config.parent)) is True
    assert is_same_model("B/two", NEW, "b/two") is None


def test_another_base_is_one_line_and_an_unknown_one_a_notice(
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = Path("adapter") / "adapter_config.json"
    with pytest.raises(UserError) as caught:
        check_base(file, "gpt2", "", SMOL)
    assert str(caught.value) == (
        f"{file}: base_model_name_or_path='gpt2' is another model than "
        f"model.name_or_path={SMOL}; set that, or use the adapter all the same with --any-base"
    )
    with caplog.at_level(logging.WARNING):
        check_base(file, SMOL, "", SMOL)
        check_base(file, "/data/x\ny", "", SMOL, notice=False)
        assert not caplog.messages
        check_base(file, "/data/x\ny", "", SMOL)
        check_base(file, "", "", SMOL)
    assert caplog.messages == [
        f"{file}: used on {SMOL}; whether base_model_name_or_path={name!r} is that cannot be told"
        for name in ("/data/x\ny", "")
    ]
