"""Registry of tasks: one name per family of rows a run can train or be evaluated on."""

from __future__ import annotations

from collections.abc import Callable

from unisd_core.common.errors import UserError
from unisd_core.config.data import CustomConfig
from unisd_core.config.renamed_keys import OLD_CUSTOM_TASK
from unisd_core.tasks.base import Task
from unisd_core.tasks.code.data import HUMANEVAL, MBPP
from unisd_core.tasks.code.task import CodeTask
from unisd_core.tasks.custom.task import OwnRowsTask
from unisd_core.tasks.gsm8k import Gsm8k
from unisd_core.tasks.minitools.task import MiniTools
from unisd_core.tasks.multiple_choice.data import (
    ARC_CHALLENGE,
    ARC_EASY,
    COS_E,
    MEDMCQA,
    SCIENCEQA,
)
from unisd_core.tasks.multiple_choice.gpqa import GPQA
from unisd_core.tasks.multiple_choice.task import MultipleChoice
from unisd_core.tasks.toolalpaca.task import ToolAlpaca

TASKS: dict[str, Callable[[str | None, int], Task]] = {
    "minitools": lambda data_dir, seed: MiniTools(seed),
    "cos_e": lambda data_dir, seed: MultipleChoice(COS_E, data_dir, seed),
    "scienceqa": lambda data_dir, seed: MultipleChoice(SCIENCEQA, data_dir, seed),
    "medmcqa": lambda data_dir, seed: MultipleChoice(MEDMCQA, data_dir, seed),
    "arc_easy": lambda data_dir, seed: MultipleChoice(ARC_EASY, data_dir, seed),
    "arc_challenge": lambda data_dir, seed: MultipleChoice(ARC_CHALLENGE, data_dir, seed),
    "gpqa": lambda data_dir, seed: MultipleChoice(GPQA, data_dir, seed),
    "gsm8k": lambda data_dir, seed: Gsm8k(data_dir),
    "mbpp": lambda data_dir, seed: CodeTask(MBPP, data_dir),
    "humaneval": lambda data_dir, seed: CodeTask(HUMANEVAL, data_dir),
    "toolalpaca": lambda data_dir, seed: ToolAlpaca(data_dir),
}
"""Name -> maker, called with the data folder (None: hub) and the seed. Rows of one's own are made
from other settings and stand beside it."""


def load_task(
    name: str, data_dir: str | None, seed: int, custom: CustomConfig | None = None
) -> Task:
    """The task called ``name``; rows are read when first asked for.

    ``data_dir`` is a folder with one subfolder of JSONL files per task, or None for the hub;
    generated tasks ignore it. ``seed`` fixes option order and generated rows. ``custom`` says
    where the rows of the task of that name are. Raises UserError for an unknown name.
    """
    if name == OwnRowsTask.name:
        return OwnRowsTask(custom or CustomConfig())
    if name == OLD_CUSTOM_TASK:
        raise UserError(f"task={name} is now called task=custom; write that")
    if name not in TASKS:
        names = ", ".join(sorted([*TASKS, OwnRowsTask.name]))
        raise UserError(f"task: unknown name {name!r}; choose one of {names}")
    return TASKS[name](data_dir, seed)
