"""The help of a command: presets, tasks and settings, without torch and without Ray."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.command.cli import PRESETS_DIR
from pipelines.command.help import preset_summaries

ROOT = Path(__file__).parents[3]


def printed(*arguments: str, code: int = 0) -> str:
    """What a command prints that must not import torch or ray."""
    program = (
        "import runpy, sys\n"
        "sys.argv = ['synthesize.py', *sys.argv[1:]]\n"
        "try: runpy.run_path('pipelines/synthesize.py', run_name='__main__')\n"
        "finally: assert not {'torch', 'ray', 'transformers'} & sys.modules.keys()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True, text=True, cwd=ROOT, timeout=120,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def test_help_lists_presets_with_their_meaning_and_tasks() -> None:
    text = printed("--help")
    assert "  sft                           Supervised fine-tuning: cross-entropy" in text
    assert "  models/qwen2.5-7b " in text
    assert "minitools, cos_e, scienceqa" in text


def test_settings_are_printed_whatever_else_a_command_needs() -> None:
    assert printed("--settings", "training.max_steps").startswith("training.max_steps=100  (")
    assert "synthesis.samples=1" in printed("seed=3", "--settings")


def test_an_old_name_of_a_setting_is_one_line() -> None:
    told = printed("--settings", "training.steps", code=2)
    assert told == "error: training.steps is now called training.max_steps; write that\n"


@pytest.mark.parametrize("name", preset_summaries(PRESETS_DIR))
def test_a_preset_begins_with_a_line_that_says_what_it_is(name: str) -> None:
    summary = preset_summaries(PRESETS_DIR)[name]
    assert summary.endswith(".")
    assert 20 <= len(summary) <= 100
