"""What decides the rows of a synthesis, so that others are not mixed with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.synthesis.options import SynthesizeOptions
from pipelines.synthesis.plan import SynthesisPlan
from unisd_core.config.run import Config


@pytest.mark.parametrize(
    "setting", ["model.chat_template_date=2024-07-26", "model.max_prompt_length=64", "seed=1"]
)
def test_settings_that_change_prompts_or_completions_decide_the_rows(
    tmp_path: Path, tiny_model: Path, setting: str
) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(json.dumps({"prompt": "Where is it?"}))
    options = SynthesizeOptions(input=str(prompts), output=str(tmp_path / "out"))
    first, second = (
        SynthesisPlan.make(
            Config.from_preset(None, [f"model.name_or_path={tiny_model}", *more]), options
        ).identity
        for more in ([], [setting])
    )
    changed = {key for key in first | second if first.get(key) != second.get(key)}
    assert changed == {setting.partition("=")[0]}
