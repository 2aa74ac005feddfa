"""The same rows for lm-evaluation-harness: a folder of tasks that it can include.

Each test set becomes a JSONL file of rows, a task file, and one shared module through which the
harness scores texts with the task's own metric. Prompt, decoding limit and metric are then ours;
chat template, engine and batching are the harness's.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from unisd_core.common.errors import UserError
from unisd_core.config.data import CustomConfig
from unisd_core.tasks.base import Task
from unisd_core.tasks.registry import load_task
from unisd_core.tasks.row import Row

PREFIX = "unisd_"
MODULE = "unisd_scoring"

_SCORING = '''"""Scores completions of the tasks in this folder; written by unisd_core."""

from unisd_core.evaluation.harness import score_document


def process_results(document, results):
    return score_document(document, results[0])
'''


def export_test_set(
    folder: Path, name: str, task: Task, rows: Sequence[Row], arguments: dict[str, Any]
) -> str:
    """Write one test set into ``folder``; returns the name under which the harness knows it.

    ``arguments`` are those of ``load_task`` that make ``task`` again. Raises UserError for rows
    that are private. Run as ``lm_eval
    --include_path <folder> --tasks <name> --apply_chat_template``.
    """
    if task.private:
        raise UserError(
            f"task {task.name}: its authors ask that rows are not written out; leave it"
        )
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        {"prompt": row.prompt, "task": arguments, "row": _plain(dataclasses.asdict(row))}
        for row in rows
    ]
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(_as_text(line)) + "\n" for line in lines), encoding="utf-8")
    (folder / f"{MODULE}.py").write_text(_SCORING, encoding="utf-8")
    settings: dict[str, Any] = {
        "task": f"{PREFIX}{name}",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data.resolve())}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{prompt}}",
        "doc_to_target": "",
        "generation_kwargs": {
            "until": [],
            "max_gen_toks": task.max_completion_length,
            "do_sample": False,
        },
        "metric_list": [
            {"metric": metric, "aggregation": "mean", "higher_is_better": True}
            for metric in ("correct", "extracted")
        ],
        "metadata": {"version": 1},
    }
    # The harness resolves this tag; YAML libraries do not know it.
    text = yaml.safe_dump(settings, sort_keys=False)
    text += f"process_results: !function {MODULE}.process_results\n"
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return str(settings["task"])


def score_document(document: dict[str, Any], completion: str) -> dict[str, float]:
    """The harness's metrics of one completion: ``correct`` and ``extracted``, each 0 or 1."""
    arguments = json.loads(document["task"])
    arguments["custom"] = CustomConfig(**arguments["custom"])
    task = load_task(**arguments)
    score = task.score(Row(**json.loads(document["row"])), completion)
    return {"correct": float(score.correct), "extracted": float(score.extracted)}


def _as_text(line: dict[str, Any]) -> dict[str, str]:
    """Nested fields as JSON text: the harness's reader wants one type for each column, and
    details of rows differ."""
    return {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in line.items()
    }


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "details": dict(fields["details"])}
