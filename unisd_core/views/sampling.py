"""Sampling of rollouts in this process, without an engine."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from torch import nn

from unisd_core.common.schema import fitting
from unisd_core.common.visits import Visit
from unisd_core.config.run import Config
from unisd_core.models.generation import sample_completions
from unisd_core.models.model_files import LoadedModel, ModelFiles, with_completion_limit
from unisd_core.tasks.base import Task
from unisd_core.tasks.row import Row
from unisd_core.tasks.splits import split_training
from unisd_core.views.builder import ViewBuilder
from unisd_core.views.prompt_table import PromptTable
from unisd_core.views.rollouts import plan_rollout, planned_rollouts


def sample(model: LoadedModel, rows: Task | Sequence[Row], config: Config) -> pa.Table:
    """One rollout of the untrained ``model`` for each of ``rows``, or for the training rows of a
    task (``TRAJECTORY``).

    Rows that are not of a task are compared by ``custom.metric`` where an answer has to be made or
    judged. Raises UserError as ``Task.from_rows`` and ``PromptTable`` do.
    """
    task = rows if isinstance(rows, Task) else Task.from_rows(rows, config.custom.metric)
    config = with_completion_limit(config, task.max_completion_length)
    table = training_prompts(model, task, config)
    prompts = fitting(table.take(range(table.num_rows)))
    size = config.rollout.chunk_size
    return pa.concat_tables(
        sample_prompts(
            model.network,
            prompts.slice(start, size),
            range(start, min(start + size, prompts.num_rows)),
            version=0,
            config=config,
            stop_token_ids=model.stop_token_ids,
        )
        for start in range(0, prompts.num_rows, size)
    )


def training_prompts(model: ModelFiles, task: Task, config: Config) -> PromptTable:
    """Token ids of every training row of ``task`` and its views; see ``PromptTable``."""
    builder = ViewBuilder(model.chat, task, config)
    return PromptTable(split_training(task, config).train, builder)


def sample_prompts(
    network: nn.Module,
    prompts: pa.Table,
    positions: Sequence[int],
    version: int,
    *,
    config: Config,
    stop_token_ids: Sequence[int],
) -> pa.Table:
    """A rollout of ``network``, the student as ``version``, for each of ``prompts`` (``PROMPT``),
    planned by its position in the run (``TRAJECTORY``)."""
    plans = [
        plan_rollout(config, position, prompts, index) for index, position in enumerate(positions)
    ]
    asked = [(plan.prompt_ids, plan.seed) for plan in plans if plan.prompt_ids is not None]
    sampled = sample_completions(
        network,
        [ids for ids, _ in asked],
        [seed for _, seed in asked],
        config.rollout,
        stop_token_ids,
        version,
    )
    visits = [Visit(position, attempt=0) for position in positions]
    return planned_rollouts(prompts, plans, visits, sampled, [version] * len(plans))
