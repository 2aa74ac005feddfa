"""Evaluation plan: model, weights, tasks, and the folder of the outcome."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.generator.completions import CachedCompletions
from actors.generator.pool import PoolClient
from actors.generator.types import Sampling
from actors.weights.buckets import weight_update
from actors.weights.update import WeightUpdate
from pipelines.command.console import report
from pipelines.evaluation.options import EvaluateOptions
from unisd_core.common.errors import UserError
from unisd_core.config.run import Config
from unisd_core.evaluation.harness import export_test_set
from unisd_core.evaluation.held_out import HeldOutSet, load_test_set
from unisd_core.evaluation.outcomes import Outcomes, score_outcomes
from unisd_core.models.completion_cache import text_key
from unisd_core.models.model_files import ModelFiles, open_model, with_completion_limit
from unisd_core.models.saved_weights import find_saved
from unisd_core.tasks.base import Task
from unisd_core.tasks.registry import load_task, split_address
from unisd_core.views.builder import ViewBuilder
from unisd_core.views.writing import draw_seed

SAMPLED_TEMPERATURE = 0.7
"""Of several answers to a row, as the paper samples."""


@dataclass(frozen=True)
class EvaluationPlan:
    """Model, test sets and decoding of one evaluation."""

    config: Config
    model: ModelFiles
    trained: WeightUpdate | None
    """The adapter to be loaded on top of the model."""
    sets: tuple[tuple[Task, str], ...]
    """Task and split."""
    completion_limit: int
    """rollout.max_completion_length as given; 0 takes each task's own."""
    samples: int
    temperature: float
    pass_at: tuple[int, ...]
    base: Path | None
    """Folder of the model that a whole trained model is compared with."""
    folder: Path
    baseline: Path | None

    @classmethod
    def make(cls, config: Config, options: EvaluateOptions) -> EvaluationPlan:
        """Check everything before an engine starts. Raises UserError naming the option."""
        sets = _choose_sets(options.tasks or config.task, config)
        longest = max(task.max_completion_length for task, _ in sets)
        saved = None
        if options.weights:
            saved = find_saved(options.weights, config, any_base=options.any_base)
        limit = config.rollout.max_completion_length
        config = with_completion_limit(saved.config if saved else config, longest)
        # There are no other views, so the engine need not read more than the student's prompts.
        config = config.with_model(max_view_length=config.model.max_prompt_length)
        model = open_model(config)
        model.check_length("max_prompt_length")
        base = None
        if saved and saved.base:
            base = open_model(config.with_model(name_or_path=saved.base)).folder
        temperature, pass_at = _decoding(options)
        adapter = saved.adapter if saved else None
        label = _label(options.weights or config.model.name_or_path)
        folder = options.out or Path(config.output_dir) / "evaluations" / label
        baseline = Path(options.baseline) if options.baseline else None
        if baseline is not None and not (baseline / "results.json").is_file():
            raise UserError(f"--baseline {baseline}: holds no results.json of an evaluation")
        return cls(
            config=config,
            model=model,
            trained=None if adapter is None else weight_update(1, adapter),
            sets=sets,
            completion_limit=limit,
            samples=options.samples,
            temperature=temperature,
            pass_at=pass_at,
            base=base,
            folder=Path(folder),
            baseline=baseline,
        )

    def test_sets(self) -> list[tuple[Task, HeldOutSet]]:
        """The rows of every set; says which are left out."""
        found = []
        for task, split in self.sets:
            builder = ViewBuilder(self.model.chat, task, self.config)
            test_set = load_test_set(builder, split)
            if test_set.left_out:
                limit = f"model.max_prompt_length={self.config.model.max_prompt_length}"
                report(f"{test_set.name}: {test_set.left_out} rows over {limit} left out")
            found.append((task, test_set))
        return found

    def export(self, folder: Path) -> None:
        """Write every set as a task of lm-evaluation-harness and say how to run them."""
        config = self.config
        names = [
            export_test_set(
                folder,
                test_set.name,
                task,
                test_set.rows,
                {
                    "name": task.address or task.name,
                    "data_dir": config.data_dir and str(Path(config.data_dir).resolve()),
                    "seed": config.task_seed,
                    "custom": config.custom.model_dump(),
                },
            )
            for task, test_set in self.test_sets()
        ]
        report(
            f"lm_eval --include_path {folder} --tasks {','.join(names)} --apply_chat_template "
            f"--model hf --model_args {self._harness_arguments()}"
        )

    def _harness_arguments(self) -> str:
        """The model as lm-evaluation-harness is told it, with the options of its chat template."""
        options = self.model.chat.options
        if not options:
            return f"pretrained={self.model.folder}"
        arguments = {"pretrained": str(self.model.folder), "chat_template_args": options}
        # The harness drops the options where this one is not given by itself.
        arguments["enable_thinking"] = options.get("enable_thinking", False)
        return f"'{json.dumps(arguments)}'"

    @property
    def weights(self) -> str:
        """Digest of everything that computes the answers; the untrained model's are shared with
        training runs."""
        if self.trained is None:
            return self.model.weights
        return f"{self.model.weights}/{self.trained.checksum}/{self.config.model.lora.scale!r}"

    @property
    def identity(self) -> str:
        """Digest of everything that decides the outcome."""
        config = self.config
        return text_key(
            {
                "weights": self.weights,
                "sets": [f"{task.name}:{split}" for task, split in self.sets],
                "rows": config.evaluation.rows,
                "task_seed": config.task_seed,
                "limits": [config.model.max_prompt_length, self.completion_limit],
                "decoding": [
                    self.samples,
                    self.temperature,
                    config.seed if self.temperature else 0,
                ],
            }
        )

    def answer(self, pool: PoolClient, task: Task, test_set: HeldOutSet) -> Outcomes:
        """Ask every row and score the answers."""
        completions = CachedCompletions(
            pool,
            self.model.chat,
            self.weights,
            version=self.trained.version if self.trained else 0,
            in_flight=self.config.generator.groups_in_flight,
        )
        answers = [
            completions.complete(test_set.prompts, self.sampling(task, test_set, number))
            for number in range(self.samples)
        ]
        return score_outcomes(task, test_set.rows, answers)

    def sampling(self, task: Task, test_set: HeldOutSet, number: int) -> Sequence[Sampling]:
        """How the ``number``-th answer to each row is decoded; the same in every evaluation."""
        limit = self.completion_limit or task.max_completion_length
        shared = Sampling(self.temperature, 1.0, limit, None, self.model.stop_token_ids)
        if not self.temperature:
            return [shared] * len(test_set.rows)
        return [
            dataclasses.replace(shared, seed=draw_seed(self.config.seed, row.uid, number))
            for row in test_set.rows
        ]


def _choose_sets(listed: str, config: Config) -> tuple[tuple[Task, str], ...]:
    sets: list[tuple[Task, str]] = []
    for name, split in (split_address(item.strip()) for item in listed.split(",")):
        task = load_task(name, config.data_dir, config.task_seed, config.custom)
        if split and split not in task.test_splits:
            raise UserError(
                f"--tasks {name}:{split}: no such test split; it has {', '.join(task.test_splits)}"
            )
        sets += [(task, one) for one in ([split] if split else task.test_splits)]
    return tuple(sets)


def _decoding(options: EvaluateOptions) -> tuple[float, tuple[int, ...]]:
    samples = options.samples
    if samples < 1:
        raise UserError(f"--samples {samples}: must be 1 or more")
    temperature = options.temperature
    if temperature is None:
        temperature = SAMPLED_TEMPERATURE if samples > 1 else 0.0
    if temperature < 0 or (samples > 1 and not temperature):
        raise UserError(f"--temperature {temperature}: several samples need a value above 0")
    try:
        listed = [int(k) for k in options.pass_at.split(",")] if options.pass_at else []
    except ValueError:
        raise UserError(f"--pass-at {options.pass_at}: give whole numbers, as 1,5") from None
    for k in listed:
        if not 1 <= k <= samples:
            raise UserError(f"--pass-at {k}: must lie between 1 and --samples={samples}")
    return temperature, tuple(listed) or ((samples,) if samples > 1 else ())


def _label(path: str) -> str:
    folder = Path(path)
    return folder.resolve().parent.name if folder.name in ("adapter", "model") else folder.name
