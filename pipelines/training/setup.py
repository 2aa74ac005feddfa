"""Setup of a run before any actor starts: model folder, task, tokenizer, views, limits."""

from __future__ import annotations

from dataclasses import dataclass

from actors.admission.ledger import visited_rows
from actors.generator.completions import greedy_sampling, rollout_sampling
from actors.generator.types import Sampling
from unisd_core.config.run import Config
from unisd_core.evaluation.held_out import HeldOutSet, load_test_set, with_prompts
from unisd_core.models.model_files import ModelFiles, open_model, with_completion_limit
from unisd_core.tasks.base import Task
from unisd_core.tasks.registry import load_task
from unisd_core.tasks.splits import TrainingRows, split_training
from unisd_core.views.builder import ViewBuilder, auxiliary_count
from unisd_core.views.prompt_table import PromptTable
from unisd_core.views.writing import Writing


@dataclass(frozen=True)
class RunSetup:
    """Everything that is fixed for a run; ``config`` has the task's own limits filled in."""

    config: Config
    model: ModelFiles
    task: Task
    rows: TrainingRows
    builder: ViewBuilder

    @property
    def writes(self) -> bool:
        """Whether the model has to write contexts or wrong references before training."""
        views, terms = self.config.views, self.config.objective
        instructs = views.auxiliary == "induction" and auxiliary_count(self.config) > 0
        return instructs or (views.negatives.source == "generated" and terms.contrastive.weight > 0)

    def training_prompts(self, writing: Writing | None = None) -> PromptTable:
        """Token ids of the training rows and their views, made when they are asked for."""
        visited = visited_rows(self.config, len(self.rows.train))
        return PromptTable(self.rows.train, self.builder, writing, visited)

    def test_sets(self) -> list[HeldOutSet]:
        """A fixed sample of evaluation.rows rows of every test split."""
        return [load_test_set(self.builder, split) for split in self.task.test_splits]

    def validation_set(self) -> HeldOutSet:
        """The training rows that were set aside."""
        return with_prompts(self.builder, f"{self.task.name}_validation", self.rows.validation)

    @property
    def sampling(self) -> Sampling:
        """How rollouts are decoded."""
        return rollout_sampling(self.config, self.model.stop_token_ids)

    @property
    def greedy(self) -> Sampling:
        """How test sets are decoded."""
        return greedy_sampling(self.config.rollout.max_completion_length, self.model.stop_token_ids)


def prepare(config: Config) -> RunSetup:
    """Load and check everything cheap. Raises UserError for a model or task that cannot be used."""
    task = load_task(config.task, config.data_dir, config.task_seed, config.custom)
    rows = split_training(task, config)
    config = with_completion_limit(config, task.max_completion_length)
    model = open_model(config)
    model.check_length("max_view_length")
    return RunSetup(config, model, task, rows, ViewBuilder(model.chat, task, config))
