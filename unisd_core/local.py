"""The method in one process (paper, Alg. 1): sample, score, agree, update, and the teacher follows.

``actors`` and ``pipelines`` do the same at the same time and on many machines; this is what they
compute at staleness 0, one step after the other and from the same parts.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial

import pyarrow as pa
from torch import nn

from unisd_core.common.errors import UserError
from unisd_core.common.schema import fitting
from unisd_core.common.visits import VisitingOrder
from unisd_core.config.run import Config
from unisd_core.models.model_files import ModelFiles, open_model, with_completion_limit
from unisd_core.objective.metrics import finalise_metrics
from unisd_core.scoring.agreement_columns import with_agreement_weights
from unisd_core.scoring.batch_filter import BatchFilter
from unisd_core.scoring.rollout_filter import RolloutFilter, row_parser, without
from unisd_core.scoring.scorer import TeacherScorer
from unisd_core.tasks.base import Task
from unisd_core.tasks.registry import load_task
from unisd_core.tasks.splits import split_training
from unisd_core.training.nonfinite_rows import BadBatches
from unisd_core.training.student import Student, alone
from unisd_core.training.teacher import TeacherWeights
from unisd_core.training.update import update_without_bad_rows
from unisd_core.views.sampling import sample_prompts, training_prompts

Sample = Callable[[nn.Module, pa.Table, Sequence[int], int], pa.Table]
"""Model, prompts (``PROMPT``), their positions and the version -> rollouts (``TRAJECTORY``)."""

LOST_BATCHES = 20
"""Batches' worth of rollouts that filters may leave out in a row before training ends."""


def train(
    config: Config,
    model: ModelFiles | None = None,
    task: Task | None = None,
    *,
    sample: Sample | None = None,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> Student:
    """Train for training.max_steps on ``task``, by default config.task; returns the student.

    ``on_step`` is given each step, counted from 1, with its metrics. ``sample`` stands in for the
    student's own sampling. Raises UserError for settings, rows or a model that cannot be used, and
    where filters or numbers that are not finite leave nothing to train on.
    """
    task = task or load_task(config.task, config.data_dir, config.task_seed, config.custom)
    config = with_completion_limit(config, task.max_completion_length)
    model = model or open_model(config)
    model.check_length("max_view_length")
    sample = sample or partial(sample_prompts, config=config, stop_token_ids=model.stop_token_ids)
    rows = split_training(task, config).train
    prompts = training_prompts(model, task, config)
    order, positions = VisitingOrder(prompts.num_rows, config.seed), itertools.count()
    rollout_filter = RolloutFilter(config, model, row_parser(task, rows, model.chat))
    batch_filter = BatchFilter(config)
    student, scorer = Student(config, model), TeacherScorer(config, model)
    teacher = TeacherWeights(config.teacher, student.weights())
    student.keep_teacher_head(0, teacher.state())
    bad_batches = BadBatches(config.training.max_bad_batches)
    size, chunk_size = config.training.batch_size, config.rollout.chunk_size
    version, scale = 0, None
    while version < config.training.max_steps:
        lost = 0
        while (batch := batch_filter.next_batch()) is None:
            missing = max(1, size - batch_filter.held)
            chunk = list(itertools.islice(positions, min(chunk_size, missing)))
            asked = prompts.take([order.row_of(position) for position in chunk])
            left_out = asked["left_out"].to_pylist()
            sampled = [place for place, limit in zip(chunk, left_out, strict=True) if limit is None]
            if sampled:
                # The student answers; every view reads the same tokens.
                rollouts = sample(student.model, fitting(asked), sampled, version)
                scored = scorer.score(rollouts)
                batch_filter.add(without(scored, rollout_filter.row_reasons(scored)))
            lost = 0 if batch_filter.held else lost + len(chunk)
            if lost > LOST_BATCHES * size:
                raise UserError(f"filter: left out all of the last {lost} rollouts; relax it")
        batch, scale = with_agreement_weights(batch, config, version, scale)  # agreement weights
        done = update_without_bad_rows(student, batch, version, alone)  # one optimizer step
        problem = bad_batches.count(done.bad)
        if problem is not None:
            raise UserError(problem)
        if done.sums is None:
            continue
        metrics = finalise_metrics(done.sums) | student.last | student.move_clip()
        version += 1
        weights = student.weights()
        if teacher.after_step(version, weights):  # the teacher follows
            scorer.load(version, teacher.state())
            student.keep_teacher_head(version, teacher.state())
        if on_step is not None:
            on_step(version, metrics | teacher.metrics(weights))
    return student
