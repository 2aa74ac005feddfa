"""Accuracy of a model, or of weights trained from it, on any tasks, with intervals.

Runs on the same generator pool as training. Answers are kept by weights, prompt and decoding:
an interrupted evaluation goes on where it stopped, and no other checkpoint's answers are used.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.command.cli import build_parser, run_main
from pipelines.command.signals import interruptible
from pipelines.evaluation.options import EvaluateOptions
from unisd_core.common.fast_imports import importing
from unisd_core.config.load import dump_config
from unisd_core.config.run import Config

if TYPE_CHECKING:
    from unisd_core.evaluation.scoreboard import SetScore
    from unisd_core.evaluation.text_scores import TextScores


@dataclass(frozen=True)
class EvaluationResult:
    """What ``results.json`` in ``folder`` holds, by test set; ``texts`` is empty without
    perplexities."""

    folder: Path
    scores: dict[str, SetScore]
    texts: dict[str, TextScores]


def evaluate(config: Config, options: EvaluateOptions | None = None) -> EvaluationResult:
    """Evaluate options.weights, or the untrained config.model, on options.tasks. Raises UserError
    for input that cannot be used."""
    # Late: --help must not need torch.
    with importing():
        from actors.generator.group import GeneratorGroup
        from actors.runtime.ray_session import connect
        from pipelines.command.incidents import IncidentFollower
        from pipelines.evaluation.perplexity import Perplexities
        from pipelines.evaluation.plan import EvaluationPlan
        from pipelines.evaluation.results import Scoreboard

    options = options or EvaluateOptions()
    plan = EvaluationPlan.make(config, options)
    board = Scoreboard(plan)
    perplexities = Perplexities(plan) if options.perplexity else None
    connect(plan.config)
    with (
        interruptible(),
        GeneratorGroup(plan.config, plan.model.folder) as generators,
        IncidentFollower(generators.watchdog, plan.folder),
    ):
        test_sets = plan.test_sets()
        generators.wait_ready()
        if plan.trained is not None:
            generators.load(plan.trained)
        for task, test_set in test_sets:
            outcomes = plan.answer(generators.pool, task, test_set)
            baseline = board.add(test_set, outcomes)
            if perplexities is not None:
                perplexities.add(task, test_set, outcomes, baseline)
    texts = perplexities.read() if perplexities is not None else {}
    board.finish(texts)
    return EvaluationResult(plan.folder, board.scores, texts)


def main(config: Config, args: argparse.Namespace) -> None:
    """Evaluate, or with --dry-run or --export-harness only say or write what would be asked."""
    options = options_of(args)
    if not (args.dry_run or args.export_harness):
        evaluate(config, options)
        return
    with importing():
        from pipelines.evaluation.plan import EvaluationPlan

    plan = EvaluationPlan.make(config, options)
    if args.dry_run:
        sys.stdout.write(dump_config(plan.config))
    else:
        plan.export(Path(args.export_harness))


def options_of(args: argparse.Namespace) -> EvaluateOptions:
    """The options that the command line gives."""
    names = (field.name for field in dataclasses.fields(EvaluateOptions))
    return EvaluateOptions(**{name: getattr(args, name) for name in names})


def parser() -> argparse.ArgumentParser:
    """The arguments of every pipeline, and what to evaluate on what."""
    options = build_parser(__doc__)
    options.add_argument(
        "--tasks",
        metavar="LIST",
        help="tasks, all their test splits or one, as cos_e,minitools:unseen; default: task=...",
    )
    options.add_argument(
        "--weights",
        metavar="FOLDER",
        help="a run, an adapter or a model folder; default: the untrained model.name_or_path",
    )
    options.add_argument(
        "--any-base",
        action="store_true",
        help="use an adapter also on another model than the one it was trained on",
    )
    options.add_argument(
        "--baseline", metavar="FOLDER", help="an earlier evaluation to compare with row by row"
    )
    options.add_argument(
        "--samples", type=int, default=1, metavar="N", help="answers to each row; default 1, greedy"
    )
    options.add_argument(
        "--temperature", type=float, metavar="T", help="default: 0, or 0.7 for several samples"
    )
    options.add_argument(
        "--pass-at", metavar="K,...", help="report pass@k; default: the number of samples"
    )
    options.add_argument(
        "--perplexity",
        action="store_true",
        help="also read references and answers: gold fit, retention, distance to the base",
    )
    options.add_argument(
        "--out", metavar="FOLDER", help="default: <output_dir>/evaluations/<weights>"
    )
    options.add_argument(
        "--export-harness",
        metavar="FOLDER",
        help="only write the test sets as tasks of lm-evaluation-harness",
    )
    return options


def command() -> int:
    """The console script; returns its exit code."""
    return run_main(main, parser())


if __name__ == "__main__":
    sys.exit(command())
