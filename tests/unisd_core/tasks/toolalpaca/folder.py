"""A small folder in the published form, with an invented API."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unisd_core.tasks.base import Task
from unisd_core.tasks.reading.call import Call
from unisd_core.tasks.registry import load_task
from unisd_core.tasks.row import Row
from unisd_core.tasks.toolalpaca.react import write_reference

DOCUMENTATION = """findBoat: Find a boat.
Parameters: {"harbour": "Required. string. Where it lies.", "length": "integer. In metres.", \
"kind": "string. One of: [sail, motor, oar]. The drive."}
Output: A list.
 - Format: application/json
sinkBoat: Sink a boat.
Parameters: {"boatId": "Required. integer.", "loudly": "boolean."}
Output: Nothing.
listHarbours: List the harbours.
Parameters: {}
Output: A list.
"""
TEMPLATE = "Tools of {name} ({description}):\n{nl}\nBegin!\nQuestion: {q}"
QUESTION = "Which sailing boats lie in Kiel?"


def call(action: str, arguments: object) -> dict[str, str]:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"Action": action, "Action_Input": text}


KIEL = {"harbour": "Kiel", "length": 9, "kind": "sail"}
FIND = call("findBoat", KIEL)


def row(*calls: dict[str, str], **fields: Any) -> dict[str, Any]:
    prompt = TEMPLATE.format(name="Boats", description="All at sea", nl=DOCUMENTATION, q=QUESTION)
    plain = {"prompt": prompt, "name": "Boats", "instruction": QUESTION}
    return {**plain, "golden_answer": list(calls or [FIND]), **fields}


def write_folder(root: Path, **splits: Sequence[dict[str, Any]]) -> str:
    """The data folder, with these rows by split."""
    folder = root / "toolalpaca"
    folder.mkdir()
    (folder / "prompt_template.txt").write_text(TEMPLATE, encoding="utf-8")
    tool = {"name": "Boats", "description": "All at sea", "nl_documentation": DOCUMENTATION}
    for name, rows in {**splits, "tools": [tool]}.items():
        lines = "\n".join(json.dumps(fields) for fields in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return str(root)


def task_of(root: Path, *calls: dict[str, str], **fields: Any) -> tuple[Task, Row]:
    """The task over one row with these gold calls."""
    task = load_task("toolalpaca", write_folder(root, test=[row(*calls, **fields)]), 0)
    return task, task.rows("test")[0]


def said(*calls: tuple[str, dict[str, Any]]) -> str:
    return write_reference("So it is.", [Call(*call) for call in calls])
