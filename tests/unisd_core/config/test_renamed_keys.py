"""Settings that were renamed: messages, saved runs and the digests of committed results."""

from __future__ import annotations

from pathlib import Path

import pytest

from unisd_core.common.errors import UserError
from unisd_core.config.load import changed_keys, dump_config
from unisd_core.config.renamed_keys import OLD_CUSTOM_TASK, OLD_NAMES, RENAMED, renamed
from unisd_core.config.run import Config


def value(config: Config, key: str) -> object:
    found: object = config
    for part in key.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_key_is_one_line_that_names_the_new_one(old: str, new: str, tmp_path: Path) -> None:
    value(Config(), new)
    expected = f"{old} is now called {new}; write that"
    with pytest.raises(UserError) as refused:
        Config.from_preset(None, [f"{old}=1"], tmp_path)
    assert str(refused.value) == expected
    section, _, name = old.rpartition(".")
    *outer, last = section.split(".")
    lines = [f"{'  ' * depth}{part}:" for depth, part in enumerate([*outer, last])]
    (tmp_path / "old.yaml").write_text("\n".join([*lines, f"{'  ' * len(lines)}{name}: 1\n"]))
    with pytest.raises(UserError) as refused:
        Config.from_preset("old", [], tmp_path)
    if section == OLD_CUSTOM_TASK:  # the whole section has another name
        expected = f"{section} is now called custom; write that"
    assert str(refused.value) == f"{tmp_path / 'old.yaml'}: {expected}"


def test_a_run_saved_under_old_names_is_read_as_it_was(tmp_path: Path) -> None:
    text = """
    training: {steps: 7, batch: 24, checkpoint_every: 3, warmup: 0.2}
    model: {path: some/model, lora: {rank: 4, alpha: 6.0, targets: [q_proj]}}
    own_rows: {train: rows.jsonl, max_completion_tokens: 9}
    """
    (tmp_path / "config.yaml").write_text(text)
    config = Config.from_saved(tmp_path / "config.yaml")
    training, lora = config.training, config.model.lora
    assert (training.max_steps, training.batch_size, training.save_steps) == (7, 24, 3)
    assert (lora.r, lora.lora_alpha, lora.target_modules) == (4, 6.0, ("q_proj",))
    assert (config.custom.train, config.custom.max_completion_length) == ("rows.jsonl", 9)
    (tmp_path / "new.yaml").write_text(dump_config(config))
    assert changed_keys(Config.from_saved(tmp_path / "new.yaml"), config) == []


def test_a_run_of_custom_rows_under_the_old_task_says_why_it_cannot_go_on(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("task: own_rows\n")
    with pytest.raises(UserError, match=r"task=own_rows became task=custom.*start a new run"):
        Config.from_saved(tmp_path / "config.yaml")
    with pytest.raises(UserError, match="^own_rows is now called custom; write that$"):
        Config.from_preset(None, ["own_rows=1"], tmp_path)


def test_names_there_and_back_are_the_same_settings() -> None:
    settings = Config().model_dump(mode="json")
    assert renamed(renamed(settings, OLD_NAMES), RENAMED) == settings
    assert "steps" in renamed(settings, OLD_NAMES)["training"]
