"""Rollout filter: leaves scored rollouts out of training, and says why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from unisd_core.common.columns import rows_where
from unisd_core.common.schema import not_finite
from unisd_core.config.run import Config
from unisd_core.scoring.agreement_bar import held_against
from unisd_core.tasks.base import Task
from unisd_core.tasks.registry import load_task
from unisd_core.tasks.row import Row
from unisd_core.tasks.splits import split_training

if TYPE_CHECKING:
    from unisd_core.models.chat.chat import Chat
    from unisd_core.models.model_files import ModelFiles

Parseable = Callable[[int, list[int]], bool]
"""Whether the task reads an answer from the completion (token ids) of the row of this index."""


class RolloutFilter:
    """The filters of ``config.filter``. ``parseable`` stands in where the rows are not those that
    ``config.task`` trains on."""

    def __init__(
        self, config: Config, model: ModelFiles | Path | str, parseable: Parseable | None = None
    ) -> None:
        self.config = config
        self._parseable: Parseable | None = None
        if config.filter.drop_unreadable:
            self._parseable = parseable or _training_parser(config, model)

    def reasons(self, table: pa.Table) -> list[str | None]:
        """For each row of a batch (``SCORED``) why it is left out, or None: first for what it is
        by itself, then for how it compares with the others that are left."""
        reasons = self.row_reasons(table)
        if self.config.filter.compares_rows:
            compared, _ = held_against(without(table, reasons), self.config)
            left = [index for index, reason in enumerate(reasons) if reason is None]
            for index, reason in zip(left, compared, strict=True):
                reasons[index] = reason
        return reasons

    def row_reasons(self, table: pa.Table) -> list[str | None]:
        """Why each row is left out for what it is by itself, or None."""
        settings = self.config.filter
        broken = not_finite(table, ["auxiliary_logprobs"])
        reasons: list[str | None] = []
        columns = ["row", "completion_ids", "finish_reason"]
        for index, row in enumerate(table.select(columns).to_pylist()):
            ids = row["completion_ids"]
            if not ids:
                reasons.append("empty completion")
            elif broken[index] is not None:
                reasons.append(broken[index])
            elif settings.drop_truncated and row["finish_reason"] == "length":
                reasons.append("truncated")
            elif len(ids) < settings.min_tokens:
                reasons.append("too short")
            elif self._parseable is not None and not self._parseable(row["row"], ids):
                reasons.append("no answer to read")
            else:
                reasons.append(None)
        return reasons


def without(table: pa.Table, reasons: Sequence[str | None]) -> pa.Table:
    """The rows of ``table`` that have no reason to be left out."""
    return rows_where(table, [reason is None for reason in reasons])


def row_parser(task: Task, rows: Sequence[Row], chat: Chat) -> Parseable:
    """Whether ``task`` reads an answer to the row of an index into ``rows``."""

    def parseable(row: int, ids: list[int]) -> bool:
        return task.parseable(rows[row], chat.text(ids))

    return parseable


def _training_parser(config: Config, model: ModelFiles | Path | str) -> Parseable:
    from unisd_core.models.chat.chat import Chat
    from unisd_core.models.load import load_tokenizer
    from unisd_core.models.model_files import model_folder

    task = load_task(config.task, config.data_dir, config.task_seed, config.custom)
    rows = split_training(task, config).train
    tokenizer = load_tokenizer(model_folder(model))
    return row_parser(task, rows, Chat(tokenizer, config.model))
