"""Old names of settings: their new ones, for messages, saved runs and committed results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RENAMED = {
    "evaluation.every": "evaluation.eval_steps",
    "evaluation.patience": "evaluation.early_stopping_patience",
    "generator.gpu_memory": "generator.gpu_memory_utilization",
    "generator.max_sequences": "generator.max_num_seqs",
    "generator.tensor_parallel": "generator.tensor_parallel_size",
    "model.lora.alpha": "model.lora.lora_alpha",
    "model.lora.rank": "model.lora.r",
    "model.lora.targets": "model.lora.target_modules",
    "model.max_prompt_tokens": "model.max_prompt_length",
    "model.max_view_tokens": "model.max_view_length",
    "model.path": "model.name_or_path",
    "own_rows.max_completion_tokens": "custom.max_completion_length",
    "own_rows.metric": "custom.metric",
    "own_rows.test": "custom.test",
    "own_rows.test_rows": "custom.test_rows",
    "own_rows.train": "custom.train",
    "rollout.chunk": "rollout.chunk_size",
    "rollout.max_completion_tokens": "rollout.max_completion_length",
    "teacher.ema_rate": "teacher.ema_decay",
    "training.batch": "training.batch_size",
    "training.checkpoint_every": "training.save_steps",
    "training.checkpoint_keep": "training.save_total_limit",
    "training.schedule": "training.lr_scheduler_type",
    "training.staleness": "training.max_staleness",
    "training.steps": "training.max_steps",
    "training.warmup": "training.warmup_ratio",
    "views.count": "views.num_auxiliary",
}
"""Old name -> new name. The values mean the same under both."""

OLD_NAMES = {new: old for old, new in RENAMED.items()}

OLD_CUSTOM_TASK = "own_rows"
"""What ``task=custom`` was called. Its uids differ, so that runs of the two have other rows."""


def renamed(settings: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """``settings``, nested by section, under the ``names`` that dotted keys have elsewhere
    (``RENAMED`` or ``OLD_NAMES``)."""
    tree: dict[str, Any] = {}

    def add(node: Mapping[str, Any], prefix: str) -> None:
        for name, value in node.items():
            key = f"{prefix}{name}"
            if isinstance(value, Mapping) and value and key not in names:
                add(value, f"{key}.")
                continue
            *sections, leaf = names.get(key, key).split(".")
            place = tree
            for section in sections:
                place = place.setdefault(section, {})
            place[leaf] = value

    add(settings, "")
    return tree
