"""What a run needs before any actor starts: model folder, task, tokenizer, views, limits."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from transformers import AutoConfig, PreTrainedTokenizerBase

from actors.engine import Sampling
from actors.evaluator import greedy
from actors.ledger import visited_rows
from unisd_core.config import Config
from unisd_core.contexts.writing import Writing
from unisd_core.errors import UserError
from unisd_core.model_fetch import resolve_model, weights_checksum
from unisd_core.models import check_vocabulary, load_tokenizer, stop_token_ids
from unisd_core.tasks import Row, Task, load_task
from unisd_core.text_model import text_model
from unisd_core.views import PromptTable, ViewBuilder, auxiliary_count, build_prompts


@dataclass(frozen=True)
class TestSet:
    """Held-out rows with the student's prompts, under the name they are reported by."""

    name: str
    rows: list[Row]
    prompts: list[list[int]]
    left_out: int
    """Rows of the sample whose prompt is longer than model.max_prompt_tokens."""


@dataclass(frozen=True)
class Workbench:
    """Everything that is fixed for a run; ``config`` has the task's own limits filled in."""

    config: Config
    model_dir: Path
    task: Task
    tokenizer: PreTrainedTokenizerBase
    builder: ViewBuilder
    stop_token_ids: tuple[int, ...]

    @property
    def writes(self) -> bool:
        """Whether the model has to write contexts or wrong references before training."""
        views, terms = self.config.views, self.config.objective
        instructs = views.auxiliary == "induction" and auxiliary_count(self.config) > 0
        return instructs or (views.negatives.source == "generated" and terms.contrastive.weight > 0)

    def training_prompts(self, writing: Writing | None = None) -> PromptTable:
        """Token ids of every training row and its views; see ``build_prompts``."""
        visited = partial(visited_rows, self.config)
        return build_prompts(self.task.rows("train"), self.builder, writing, visited)

    def test_sets(self) -> list[TestSet]:
        """A fixed sample of evaluation.rows rows of every test split."""
        return [self._test_set(split) for split in self.task.test_splits]

    def _test_set(self, split: str) -> TestSet:
        name, limit = f"{self.task.name}_{split}", self.config.model.max_prompt_tokens
        rows = self.task.rows(split)
        rows = random.Random("evaluation").sample(rows, min(self.config.evaluation.rows, len(rows)))
        pairs = [(row, self.builder.prompt(row)) for row in rows]
        fitting = [(row, ids) for row, ids in pairs if len(ids) <= limit]
        if not fitting:
            raise UserError(
                f"{name}: none of {len(pairs)} prompts has at most model.max_prompt_tokens={limit} "
                "tokens; raise it"
            )
        return TestSet(
            name,
            [row for row, _ in fitting],
            [ids for _, ids in fitting],
            len(pairs) - len(fitting),
        )

    @cached_property
    def base_weights(self) -> str:
        """Digest of the untrained weights and of the type they are computed in."""
        return f"{weights_checksum(self.model_dir)}/{self.config.model.dtype}"

    @property
    def sampling(self) -> Sampling:
        """How rollouts are decoded."""
        rollout = self.config.rollout
        return Sampling(
            rollout.temperature,
            rollout.top_p,
            rollout.max_completion_tokens,
            None,
            self.stop_token_ids,
            rollout.top_k,
        )

    @property
    def greedy(self) -> Sampling:
        """How test sets are decoded."""
        return greedy(self.config.rollout.max_completion_tokens, self.stop_token_ids)


def prepare(config: Config) -> Workbench:
    """Load and check everything cheap. Raises UserError for a model or task that cannot be used."""
    task = load_task(config.task, config.data_dir, config.task_seed)
    if not task.rows("train"):
        raise UserError(f"task {task.name}: the training split is empty")
    model_dir = text_model(resolve_model(config.model.path))
    tokenizer = load_tokenizer(model_dir)
    model_config = AutoConfig.from_pretrained(model_dir, trust_remote_code=False)
    check_vocabulary(tokenizer, model_config)
    if config.rollout.max_completion_tokens == 0:
        rollout = config.rollout.model_copy(
            update={"max_completion_tokens": task.max_completion_tokens}
        )
        config = config.model_copy(update={"rollout": rollout})
    longest = config.model.max_view_tokens + config.rollout.max_completion_tokens
    limit = getattr(model_config, "max_position_embeddings", longest)
    if longest > limit:
        raise UserError(
            f"model.max_view_tokens plus the completion limit is {longest}, "
            f"{config.model.path} reads {limit}; lower model.max_view_tokens"
        )
    stops = tuple(stop_token_ids(model_dir, tokenizer))
    return Workbench(
        config=config,
        model_dir=model_dir,
        task=task,
        tokenizer=tokenizer,
        builder=ViewBuilder(tokenizer, task, config, stops),
        stop_token_ids=stops,
    )
