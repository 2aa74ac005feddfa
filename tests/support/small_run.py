"""The command line of a job that two cores finish in a minute or two."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def small_run(model: Path, out: Path, name: str, *overrides: str) -> list[str]:
    """``pipelines/unisd_full.py`` with short completions and little of everything; of two settings
    of one key the later counts."""
    return [
        sys.executable,
        str(ROOT / "pipelines" / "unisd_full.py"),
        "--preset=unisd_full",
        f"name={name}",
        f"output_dir={out}",
        f"model.name_or_path={model}",
        "model.max_prompt_length=1000",
        "model.max_view_length=1900",
        "rollout.chunk_size=4",
        "rollout.max_completion_length=12",
        "views.num_auxiliary=2",
        "generator.cpus=0.25",
        "generator.kv_cache_gib=0.25",
        "scorer.cpus=0.25",
        "learner.cpus=0.25",
        *overrides,
    ]
