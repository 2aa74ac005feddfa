"""TrainingRun: one run of training, from its checked settings to its summary."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from actors.admission.ledger import visited_rows
from actors.fleet import Fleet
from actors.generator.completions import pool_writing
from actors.generator.types import Sampling
from actors.learner.group import Learners
from pipelines.command.incidents import IncidentFollower
from pipelines.training.evaluation import Evaluation, announce, check_teacher, evaluate
from pipelines.training.inputs import check_inputs, check_prompts
from pipelines.training.result import Result, choose_result, finish
from pipelines.training.resume import recover, train_until_stopped
from pipelines.training.setup import RunSetup, prepare
from pipelines.training.status_line import StatusLine
from pipelines.training.validation import Validation
from unisd_core.config.run import Config
from unisd_core.evaluation.held_out import HeldOutSet
from unisd_core.reporting.run_dir import RunDir
from unisd_core.reporting.summary import Summary
from unisd_core.views.prompt_table import PromptTable

FIRST = 256
"""Training rows that are made before the others, to know what they are like."""


@dataclass
class TrainingRun:
    """The steps of a run in the order in which ``unisd_full`` takes them."""

    setup: RunSetup
    folder: RunDir
    began: float
    """When the command began, seconds of time.perf_counter."""
    step: int = 0
    """Of the checkpoint that the run goes on from."""

    @classmethod
    def prepare(cls, config: Config, *, resume: bool, began: float) -> TrainingRun:
        """Load and check everything cheap, open the run's folder, find its newest checkpoint.

        Raises UserError for a model, task or folder that cannot be used, and where the run would
        go on from its checkpoint on other rows or another model than before.
        """
        setup = prepare(config)
        folder = RunDir.create(setup.config, resume=resume)
        step = recover(setup.config, folder) or 0
        check_inputs(setup, folder, step)
        return cls(setup, folder, began, step)

    @property
    def config(self) -> Config:
        """The settings, with the task's own limits filled in."""
        return self.setup.config

    @property
    def model_dir(self) -> Path:
        """Folder of the base model."""
        return self.setup.model.folder

    @property
    def path(self) -> Path:
        """Folder of the run."""
        return self.folder.path

    @property
    def sampling(self) -> Sampling:
        """How rollouts are decoded."""
        return self.setup.sampling

    @cached_property
    def test_sets(self) -> list[HeldOutSet]:
        """The rows that are asked before and after training."""
        return self.setup.test_sets()

    def incidents(self, fleet: Fleet) -> IncidentFollower:
        """Prints and keeps what goes wrong and is mended while the run goes on."""
        return IncidentFollower(fleet.watchdog, self.path)

    def prompts(self, fleet: Fleet) -> PromptTable:
        """Token ids of the training rows and their views. The first are made at once, the others
        while the run goes on. Where the model has to write contexts or wrong references, the
        replicas do that first."""
        writing = None
        if self.setup.writes:
            fleet.wait_ready()
            in_flight = self.config.generator.groups_in_flight
            writing = pool_writing(fleet.pool, self.setup.model, self.setup.builder, in_flight)
        prompts = self.setup.training_prompts(writing)
        visited = visited_rows(self.config, prompts.num_rows, self.step)
        # Later versions of the model must not write, so that it writes all that it is to write.
        first = len(visited) if self.setup.writes else FIRST
        while len(prompts.left_out) == prompts.made < len(visited):
            prompts.make(visited[prompts.made : prompts.made + first])
        check_prompts(self.setup, self.folder, prompts, self.step)
        announce(self.setup, prompts, self.test_sets)
        if self.config.evaluation.eval_steps:
            self.setup.validation_set()  # what is wrong with its rows is said now
        return prompts

    def require_better_teacher(self, fleet: Fleet, prompts: PromptTable) -> None:
        """Measure the views; raises UserError for a teacher no better than its student."""
        fleet.wait_ready()
        check_teacher(self.setup, fleet.pool, prompts)

    def evaluate(self, fleet: Fleet, stage: str, version: int = 0) -> Evaluation:
        """Accuracy of a policy version on every test set."""
        return evaluate(self.setup, fleet.pool, self.test_sets, self.folder, stage, version)

    def status_line(self) -> StatusLine:
        """Shows the newest step while the run trains."""
        return StatusLine(self.config, self.path)

    def validation(self, fleet: Fleet) -> Validation:
        """Evaluates checkpoints while the run trains, where evaluation.eval_steps is set."""
        return Validation(self.setup, fleet, self.path)

    def train_until_stopped(self, learners: Learners) -> None:
        """Train until training.max_steps. Raises Interrupted when a signal ended it earlier; the
        step it has come to is saved then."""
        train_until_stopped(learners, self.folder)

    def choose_result(self, fleet: Fleet) -> Result:
        """The last weights, or the best on validation rows, which then are served again."""
        return choose_result(self.setup, fleet, self.folder)

    def finish(
        self, fleet: Fleet, result: Result, before: Evaluation, after: Evaluation
    ) -> Summary:
        """Save the trained weights, write summary.json and print the final table."""
        seconds = time.perf_counter() - self.began
        return finish(self.setup, fleet, self.folder, result, before, after, seconds)
