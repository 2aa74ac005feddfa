"""The files of an evaluation, and the table a person reads."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

from pipelines.command.console import report
from pipelines.evaluation.plan import EvaluationPlan
from unisd_core.common.errors import UserError
from unisd_core.common.files import replace_file
from unisd_core.common.text_table import columns
from unisd_core.common.user_text import read_json
from unisd_core.evaluation.held_out import HeldOutSet
from unisd_core.evaluation.outcomes import Outcomes, read_outcomes, write_outcomes
from unisd_core.evaluation.scoreboard import SetScore, render_scores, score_set
from unisd_core.evaluation.text_scores import TextScores, render_texts
from unisd_core.reporting.summary import package_versions


class Scoreboard:
    """Files of an evaluation: ``answers/<set>.parquet``, ``results.json`` and ``report.txt``.

    Raises UserError where the folder holds the evaluation of other weights or settings.
    """

    def __init__(self, plan: EvaluationPlan) -> None:
        self.plan = plan
        self.scores: dict[str, SetScore] = {}
        self.left_out: dict[str, int] = {}
        self.began = time.perf_counter()
        known = plan.folder / "results.json"
        if known.is_file() and _read_identity(known) != plan.identity:
            raise UserError(
                f"{plan.folder}: holds the evaluation of other weights, rows or decoding; "
                "choose another --out"
            )

    def add(self, test_set: HeldOutSet, outcomes: Outcomes) -> Outcomes | None:
        """Write and score the answers to one test set; returns the baseline's."""
        plan = self.plan
        answers = plan.folder / "answers"
        answers.mkdir(parents=True, exist_ok=True)
        write_outcomes(outcomes, answers / f"{test_set.name}.parquet")
        baseline = self._baseline(test_set.name)
        score = score_set(
            outcomes,
            baseline,
            pass_at=plan.pass_at,
            resamples=plan.config.evaluation.bootstrap,
            seed=plan.config.seed,
        )
        self.scores[test_set.name] = score
        self.left_out[test_set.name] = test_set.left_out
        report(f"{test_set.name}: {100 * score.accuracy.value:.1f} % of {score.rows} rows")
        return baseline

    def _baseline(self, name: str) -> Outcomes | None:
        if self.plan.baseline is None:
            return None
        file = self.plan.baseline / "answers" / f"{name}.parquet"
        if not file.is_file():
            report(f"{name}: not in the baseline {self.plan.baseline}")
            return None
        return read_outcomes(file)

    def finish(self, texts: Mapping[str, TextScores]) -> None:
        """Write and print the results, with perplexities where they were measured."""
        plan = self.plan
        results = {
            "identity": plan.identity,
            "model": plan.config.model.name_or_path,
            "weights": plan.weights,
            "samples": plan.samples,
            "temperature": plan.temperature,
            "baseline": str(plan.baseline) if plan.baseline else None,
            "left_out": self.left_out,
            "test_sets": {name: score.model_dump() for name, score in self.scores.items()},
            "texts": {name: score.model_dump() for name, score in texts.items()},
            "seconds": round(time.perf_counter() - self.began, 1),
            "versions": package_versions(),
        }
        tables = [render_scores(self.scores)]
        tables += [render_texts(texts)] if texts else []
        tables += _category_tables(self.scores)
        text = "\n\n".join(tables) + "\n"
        replace_file(plan.folder / "report.txt", text)
        # Last: it marks a complete evaluation.
        replace_file(plan.folder / "results.json", json.dumps(results, indent=2) + "\n")
        report(f"\n{text}\nresults in {plan.folder}")


def _read_identity(file: Path) -> object:
    try:
        found = read_json(file)
    except (OSError, ValueError, RecursionError):
        return None
    return found.get("identity") if isinstance(found, dict) else None


def _category_tables(scores: dict[str, SetScore]) -> list[str]:
    return [
        columns(
            [
                (name, "rows", "accuracy"),
                *(
                    (category, str(found.rows), f"{100 * found.accuracy:.1f}")
                    for category, found in score.categories.items()
                ),
            ]
        )
        for name, score in scores.items()
        if score.categories
    ]
