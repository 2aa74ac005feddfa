"""Registry of tasks: one name per family of rows a run can train or be evaluated on."""

from __future__ import annotations

from collections.abc import Callable

from unisd_core.errors import UserError
from unisd_core.tasks.base import Row, Score, Task
from unisd_core.tasks.minitools.task import MiniTools
from unisd_core.tasks.multiple_choice import MultipleChoice
from unisd_core.tasks.multiple_choice_data import ARC_EASY, COS_E, SCIENCEQA

TASKS: dict[str, Callable[[str | None, int], Task]] = {
    "minitools": lambda data_dir, seed: MiniTools(seed),
    "cos_e": lambda data_dir, seed: MultipleChoice(COS_E, data_dir, seed),
    "scienceqa": lambda data_dir, seed: MultipleChoice(SCIENCEQA, data_dir, seed),
    "arc_easy": lambda data_dir, seed: MultipleChoice(ARC_EASY, data_dir, seed),
}
"""Name -> maker, called with the data folder (None: hub) and the seed."""


def load_task(name: str, data_dir: str | None, seed: int) -> Task:
    """The task registered as ``name``; rows are read when first asked for.

    ``data_dir`` is a folder with one subfolder of JSONL files per task, or None for the hub;
    generated tasks ignore it. ``seed`` fixes option order and generated rows. Raises UserError
    for an unknown name.
    """
    if name not in TASKS:
        raise UserError(f"task: unknown name {name!r}; choose one of {', '.join(sorted(TASKS))}")
    return TASKS[name](data_dir, seed)


__all__ = ["TASKS", "Row", "Score", "Task", "load_task"]
