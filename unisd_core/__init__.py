"""The method as a library: losses, views, scorer, agreement and the optimizer step, without Ray.

Names are imported when they are first asked for, so that ``Config`` needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unisd_core.common.errors import UserError
    from unisd_core.config.run import Config
    from unisd_core.local import train
    from unisd_core.models.model_files import load_model
    from unisd_core.models.trained_weights import save_trained
    from unisd_core.objective.metrics import finalise_metrics
    from unisd_core.objective.terms import MicroBatch
    from unisd_core.scoring.agree import agree
    from unisd_core.scoring.scorer import TeacherScorer
    from unisd_core.tasks.base import Task
    from unisd_core.tasks.registry import load_task
    from unisd_core.tasks.row import AnswerScore, Row
    from unisd_core.training.student import Student
    from unisd_core.training.teacher import TeacherWeights
    from unisd_core.views.sampling import sample

_HOMES = {
    "AnswerScore": "tasks.row",
    "Config": "config.run",
    "MicroBatch": "objective.terms",
    "Row": "tasks.row",
    "Student": "training.student",
    "Task": "tasks.base",
    "TeacherScorer": "scoring.scorer",
    "TeacherWeights": "training.teacher",
    "UserError": "common.errors",
    "agree": "scoring.agree",
    "finalise_metrics": "objective.metrics",
    "load_model": "models.model_files",
    "load_task": "tasks.registry",
    "sample": "views.sampling",
    "save_trained": "models.trained_weights",
    "train": "local",
}
"""The module of each public name."""

__all__ = [
    "AnswerScore",
    "Config",
    "MicroBatch",
    "Row",
    "Student",
    "Task",
    "TeacherScorer",
    "TeacherWeights",
    "UserError",
    "agree",
    "finalise_metrics",
    "load_model",
    "load_task",
    "sample",
    "save_trained",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
