from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.tiny import make_tiny_model
from unisd_core.common.errors import UserError
from unisd_core.config.load import dump_config
from unisd_core.config.run import Config, LoraConfig
from unisd_core.models.load import load_base
from unisd_core.models.lora import adapter_state, add_lora, save_adapter, save_merged
from unisd_core.models.saved_weights import find_saved

LORA = LoraConfig(r=4, lora_alpha=6.0, target_modules=("q_proj", "v_proj"))


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "adapter"
    model = add_lora(load_base(tiny_model), LORA, 0)
    save_adapter(adapter_state(model), LORA, tiny_model, folder)
    return folder


def changed(adapter: Path, folder: Path, **fields: Any) -> Path:
    folder.mkdir()
    known = json.loads((adapter / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(known | fields))
    (folder / "adapter_model.safetensors").write_bytes(
        (adapter / "adapter_model.safetensors").read_bytes()
    )
    return folder


def on(model_dir: Path) -> Config:
    return Config().with_model(name_or_path=str(model_dir))


def test_an_adapter_brings_its_own_shape(adapter: Path, tiny_model: Path) -> None:
    found = find_saved(str(adapter), on(tiny_model))
    assert found.config.model.lora == LORA
    assert found.config.model.name_or_path == str(tiny_model)
    assert found.adapter is not None
    assert {tensor.dtype for tensor in found.adapter.values()} == {torch.float32}
    assert all(".lora_" in name for name in found.adapter)


def test_a_run_brings_the_model_it_was_trained_from(adapter: Path, tmp_path: Path) -> None:
    run = Config.model_validate(
        {"model": {"name_or_path": "other/model", "lora": LORA.model_dump()}}
    )
    (tmp_path / "config.yaml").write_text(dump_config(run))
    with pytest.raises(UserError, match="no trained weights yet"):
        find_saved(str(tmp_path), Config())
    changed(adapter, tmp_path / "adapter")
    found = find_saved(str(tmp_path), Config())
    assert found.config.model == run.model
    assert found.adapter is not None
    longer = Config.model_validate({"model": {"max_prompt_length": 900, "dtype": "bfloat16"}})
    kept = find_saved(str(tmp_path), longer).config.model
    assert kept == run.model.model_copy(update={"max_prompt_length": 900})


def test_a_whole_model_has_no_adapter(adapter: Path, tiny_model: Path, tmp_path: Path) -> None:
    state = find_saved(str(adapter), on(tiny_model)).adapter
    assert state is not None
    save_merged(tiny_model, state, LORA, tmp_path / "merged")
    found = find_saved(str(tmp_path / "merged"), Config())
    assert found.adapter is None
    assert found.config.model.name_or_path == str(tmp_path / "merged")


@pytest.mark.parametrize(
    "fields",
    [{"use_dora": True}, {"bias": "all"}, {"rank_pattern": {"q_proj": 8}}, {"r": "many"}],
)
def test_an_adapter_that_would_be_merged_wrongly_is_refused(
    adapter: Path, tmp_path: Path, fields: dict[str, Any]
) -> None:
    folder = changed(adapter, tmp_path / "other", **fields)
    with pytest.raises(UserError, match=r"adapter_config\.json: cannot be used") as caught:
        find_saved(str(folder), Config())
    assert "\n" not in str(caught.value)


def test_an_adapter_of_another_base_is_refused_unless_it_is_wanted(
    adapter: Path, tmp_path: Path
) -> None:
    other = on(make_tiny_model(tmp_path / "wide", intermediate_size=96))
    with pytest.raises(UserError, match="is another model than model.name_or_path"):
        find_saved(str(adapter), other)
    assert find_saved(str(adapter), other, any_base=True).config.model.lora == LORA

    run = tmp_path / "run"
    changed(adapter, run)
    (run / "config.yaml").write_text(dump_config(other))
    run.joinpath("adapter").mkdir()
    for file in adapter.iterdir():
        (run / "adapter" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(UserError, match="is another model than model.name_or_path"):
        find_saved(str(run), Config())
    assert find_saved(str(run), Config(), any_base=True).config.model == other.model.model_copy(
        update={"lora": LORA}
    )


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\xff" * 64])
def test_broken_tensors_are_one_line(adapter: Path, tmp_path: Path, content: bytes) -> None:
    folder = changed(adapter, tmp_path / "broken")
    (folder / "adapter_model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"adapter_model\.safetensors: cannot be read") as caught:
        find_saved(str(folder), Config())
    assert "\n" not in str(caught.value)


def test_anything_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a run folder nor an adapter nor a model"):
        find_saved(str(tmp_path), Config())
