"""The code of docs/library.md runs as it stands there, on a tiny model."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from unisd_core import load_task

PAGE = Path(__file__).parents[1] / "docs" / "library.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
MODEL = '"model.name_or_path": "Qwen/Qwen2.5-0.5B-Instruct"'


def test_every_block_runs_after_those_before_it(
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    # A scorer sets the threads of its process.
    monkeypatch.setattr("torch.set_num_threads", lambda threads: None)
    tiny = f'"model.name_or_path": "{tiny_model}", "rollout.max_completion_length": 8'
    names: dict[str, Any] = {}
    for block in BLOCKS:
        if block.startswith("# my_tasks.py"):
            Path("my_tasks.py").write_text(block)
        else:
            exec(block.replace(MODEL, tiny), names)
    assert capsys.readouterr().out.splitlines().count("True") == 2
    assert Path("sums/adapter/adapter_model.safetensors").is_file()
    task = load_task("my_tasks:Parity", None, 0)
    rows = task.rows("train")
    assert all(score.correct for score in task.score_many(rows, [row.reference for row in rows]))
