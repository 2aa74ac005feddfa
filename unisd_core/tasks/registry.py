"""Registry of tasks: one name per family of rows a run can train or be evaluated on."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable

from unisd_core.common.errors import UserError
from unisd_core.config.data import CustomConfig
from unisd_core.config.renamed_keys import OLD_CUSTOM_TASK
from unisd_core.tasks.base import Task
from unisd_core.tasks.code.data import HUMANEVAL, MBPP
from unisd_core.tasks.code.task import CodeTask
from unisd_core.tasks.custom.task import CustomTask
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
"""Name -> maker, called with the data folder (None: hub) and the seed. ``custom`` and
``module:Class``, which take neither, stand beside it."""


def load_task(
    name: str, data_dir: str | None = None, seed: int = 0, custom: CustomConfig | None = None
) -> Task:
    """The task called ``name``; rows are read when first asked for.

    ``data_dir`` is a folder with one subfolder of JSONL files per task, or None for the hub;
    generated tasks ignore it. ``seed`` fixes option order and generated rows. ``custom`` says
    where the rows of the task of that name are. ``module:Class`` calls what the module, which is
    also looked for in the working directory, has under that name, without arguments. Each process
    of a run makes the task anew. Raises UserError for a name that gives no task.
    """
    if name == CustomTask.name:
        return CustomTask(custom or CustomConfig())
    if name == OLD_CUSTOM_TASK:
        raise UserError(f"task={name} is now called task=custom; write that")
    if ":" in name:
        return _imported(name)
    if name not in TASKS:
        names = ", ".join(sorted([*TASKS, CustomTask.name]))
        raise UserError(f"task: unknown name {name!r}; choose one of {names}, or give module:Class")
    return TASKS[name](data_dir, seed)


def split_address(item: str) -> tuple[str, str]:
    """Name and split of ``task``, ``task:split``, ``module:Class`` or ``module:Class:split``; the
    split is "" where none is given."""
    name, _, rest = item.partition(":")
    if not rest or name in TASKS or name == CustomTask.name:
        return name, rest
    attribute, _, split = rest.partition(":")
    return f"{name}:{attribute}", split


def _imported(address: str) -> Task:
    module_name, _, attribute = address.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except (ModuleNotFoundError, ValueError) as error:
        # A module that it imports itself in vain is another mistake, which its traceback shows.
        missing = getattr(error, "name", None) or module_name
        if not f"{module_name}.".startswith(f"{missing}."):
            raise
        raise UserError(
            f"task={address}: there is no module {missing!r} here or among installed packages; "
            "check the name and the working directory"
        ) from None
    make = getattr(module, attribute, None)
    if not callable(make):
        raise UserError(f"task={address}: {module.__file__} has no class {attribute!r}; add it")
    task = make()
    if not isinstance(task, Task) or not getattr(task, "name", ""):
        raise UserError(
            f"task={address}: must give a unisd_core.Task with a name, found {type(task).__name__}"
        )
    task.address = address
    return task
