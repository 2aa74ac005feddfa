"""The documentation of settings: complete, generated, and the same on the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from unisd_core.common.errors import UserError
from unisd_core.config.base import leaf_fields
from unisd_core.config.describe import describe_settings, settings_page
from unisd_core.config.run import Config

ROOT = Path(__file__).parents[3]


def test_the_page_of_settings_is_up_to_date() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == settings_page(), (
        "run python -m unisd_core.config.describe > docs/settings.md"
    )


def test_every_setting_and_section_is_documented() -> None:
    page, text = settings_page(), describe_settings()
    for key, info in leaf_fields(Config).items():
        assert info.description, key
        assert f"| `{key}` |" in page
        assert f"{key}=" in text
    assert "\n\n\n\n|" not in page, "a section without a docstring"


def test_defaults_are_written_as_the_command_line_takes_them() -> None:
    lines = describe_settings().splitlines()
    overrides = [line.partition("  (")[0] for line in lines if not line.startswith(" ")]
    assert len(overrides) == len(leaf_fields(Config))
    assert Config.from_preset(None, overrides, ROOT) == Config()


def test_a_prefix_chooses_settings() -> None:
    assert describe_settings("model.lora.r").splitlines() == [
        "model.lora.r=16  (whole number, at least 1)",
        "    Rank of the update BA of each adapted matrix.",
    ]
    assert "views.induction.pool=" in describe_settings("views.ind")
    assert "views.num_auxiliary=" not in describe_settings("views.ind")


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("training.warmup_ratio", "(number, at least 0, below 1)"),
        ("training.skip_grad_norm", "(number, above 0, or null)"),
        ("teacher.kind", "(frozen, ema or live)"),
        ("views.repeat_prompt", "(true or false)"),
        ("objective.features.layers", "(list of whole numbers)"),
        ("outputs.wandb", "(text, or null)"),
    ],
)
def test_values_are_told_in_words(key: str, values: str) -> None:
    assert describe_settings(key).splitlines()[0].endswith(f"  {values}")


def test_an_unknown_prefix_names_what_was_meant() -> None:
    with pytest.raises(UserError, match="did you mean training.learning_rate"):
        describe_settings("training.learnig_rate")
