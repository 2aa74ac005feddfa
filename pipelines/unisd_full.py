"""unisd_full: improve a model at a task by distilling it into itself (UniSD, arXiv 2605.06597).

The student samples completions on its own; its teacher self, which sees the reference, K auxiliary
views and a view with a wrong reference read the same tokens; agreement weights them; one optimizer
step per batch; each new version goes back to the replicas while they go on sampling.

    prompts -> Gate -> Generate -> Score -> Agree -> learners
                ^         ^          ^                  |
                |         |          | teacher          | version v + 1
                |      replicas <----+-- weight store <-+
                |                push                   |
                +-------- room for more prompts <-------+

    part       waits for                                   is unblocked by
    Gate       room: no more than (S + v + 1) B admitted   a step, or rows that are filtered or lost
    Generate   a replica at version v - S or newer         a push
    Score      a chunk of rollouts                         Generate
    Agree      B rows that pass the filter                 Score
    learners   a batch, none of its rows older than S      Agree
    push       nobody: replicas load a version while       the learners, who publish and go on
               requests run, and report it back

S is training.max_staleness, B training.batch_size, v the version of the student.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass

from actors.runtime.resource_plan import render_plan, resource_plan
from pipelines.command.cli import build_parser, run_main
from pipelines.command.signals import interruptible
from unisd_core.common.fast_imports import importing
from unisd_core.config.load import dump_config
from unisd_core.config.run import Config
from unisd_core.reporting.summary import Summary


@dataclass(frozen=True)
class TrainOptions:
    """``resume`` continues a run that has finished, or one whose settings changed."""

    resume: bool = False


def train(config: Config, options: TrainOptions | None = None) -> Summary:
    """Train on ``config.task`` by self-distillation; returns accuracy before and after, and what
    the run cost. Raises UserError for input that cannot be used."""
    began = time.perf_counter()
    # Ray starts while torch is imported; a dry run needs neither.
    with importing():
        from actors.runtime.ray_session import connect

        connect(config)
        from actors.fleet import Fleet
        from actors.stream.agree import Agree
        from actors.stream.generate import Generate
        from actors.stream.score import Score
        from pipelines.report import write_at_end
        from pipelines.training.run import TrainingRun

    resume = (options or TrainOptions()).resume
    run = TrainingRun.prepare(config, resume=resume, began=began)
    with interruptible(), Fleet(run.config, run.model_dir) as fleet, run.incidents(fleet):
        prompts = run.prompts(fleet)  # the student's prompt and every view, as token ids
        rollouts = (
            fleet.admission(prompts, run.sampling, run.step)  # the gate picks the prompts of a slot
            .map_batches(Generate, **fleet.generate)  # the student samples; rows carry its version
            .map_batches(Score, **fleet.score)  # teacher, auxiliary and negative views read them
            .map_batches(Agree, **fleet.agree)  # whole batches, filtered and weighted
        )
        learners = fleet.start_learners(rollouts, run.path)  # load while the base is measured
        run.require_better_teacher(fleet, prompts)
        before = run.evaluate(fleet, "base")
        with run.status_line(), run.validation(fleet):
            run.train_until_stopped(learners)  # one step per batch; each version is pushed
        result = run.choose_result(fleet)  # the last weights, or the best on validation rows
        after = run.evaluate(fleet, "final", result.served)
        summary = run.finish(fleet, result, before, after)
    write_at_end(run.path, run.setup.model.tokenizer)
    return summary


def main(config: Config, args: argparse.Namespace) -> None:
    """Train, or with --dry-run print the resolved settings and what the run reserves."""
    if args.dry_run:
        sys.stdout.write(dump_config(config) + "\n" + render_plan(resource_plan(config)))
        return
    train(config, TrainOptions(resume=args.resume))


def command() -> int:
    """The console script; returns its exit code."""
    return run_main(main, build_parser(__doc__))


if __name__ == "__main__":
    sys.exit(command())
