"""The texts of an evaluation whose perplexities are measured."""

from __future__ import annotations

from actors.perplexity import TextsToScore, score_test_sets
from pipelines.evaluation.plan import EvaluationPlan
from unisd_core.evaluation.held_out import HeldOutSet
from unisd_core.evaluation.outcomes import Outcomes
from unisd_core.evaluation.text_scores import TextScores
from unisd_core.evaluation.texts import PromptCompletion
from unisd_core.tasks.base import Task
from unisd_core.views.builder import ViewBuilder


class Perplexities:
    """Collects texts while test sets are answered; reads them when the engines are gone.

    Of several samples the first is read. Answers are encoded again from their text, and end with
    the token that ends a turn unless they were cut off.
    """

    def __init__(self, plan: EvaluationPlan) -> None:
        self.plan = plan
        self.sets: dict[str, TextsToScore] = {}

    def add(
        self, task: Task, test_set: HeldOutSet, outcomes: Outcomes, baseline: Outcomes | None
    ) -> None:
        """Keep the texts of one test set."""
        model = self.plan.model
        builder = ViewBuilder(model.chat, task, self.plan.config)
        pairs = list(zip(test_set.rows, test_set.prompts, strict=True))
        self.sets[test_set.name] = TextsToScore(
            gold=[PromptCompletion(ids, builder.completion(row, ids)) for row, ids in pairs],
            own=self._answers(test_set, outcomes),
            others=self._answers(test_set, baseline) if baseline else None,
        )

    def _answers(self, test_set: HeldOutSet, outcomes: Outcomes) -> list[PromptCompletion]:
        chat = self.plan.model.chat
        texts = [samples[0] for samples in outcomes.completions]
        finished = outcomes.finished_BN[:, 0].tolist()
        return [
            PromptCompletion(prompt, chat.answer(text, ended))
            for prompt, text, ended in zip(test_set.prompts, texts, finished, strict=True)
        ]

    def read(self) -> dict[str, TextScores]:
        """Measure everything that was collected."""
        plan = self.plan
        return score_test_sets(plan.config, plan.model.folder, plan.base, plan.trained, self.sets)
