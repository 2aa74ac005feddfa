"""The main job: make a model better at a task by distilling it from itself (UniSD).

The student samples completions on its own; the same tokens are read by its teacher self, which
sees the reference answer, by K auxiliary views and by a view with a wrong reference;
agreement weighs them; one optimizer step per batch; each new version goes back to the
generators while they sample on.
"""

from __future__ import annotations

import argparse
import sys
import time

from actors.runtime.resource_plan import render_plan, resource_plan
from pipelines.command.cli import build_parser, run_main
from unisd_core.common.fast_imports import importing
from unisd_core.config.load import dump_config
from unisd_core.config.run import Config


def main(config: Config, args: argparse.Namespace) -> None:
    """Train on config.task and report what it brought."""
    if args.dry_run:
        sys.stdout.write(dump_config(config) + "\n" + render_plan(resource_plan(config)))
        return
    # Late: a dry run must not need torch, and Ray starts before that is loaded.
    with importing():
        began = time.perf_counter()
        from actors.runtime.ray_session import connect

        connect(config)
        from actors.fleet import Fleet
        from actors.generator.client import pool_writing
        from pipelines.command.incidents import IncidentLog
        from pipelines.command.signals import interruptible
        from pipelines.report import write_at_end
        from pipelines.training import evaluation as before_after
        from pipelines.training.result import choose_result, finish
        from pipelines.training.resume import recover, train
        from pipelines.training.setup import prepare
        from pipelines.training.status_line import StatusLine
        from pipelines.training.validation import Validation
        from unisd_core.reporting.run_dir import RunDir

    setup = prepare(config)
    run = RunDir.create(setup.config, resume=args.resume)
    recover(setup.config, run)
    with (
        interruptible(),
        Fleet(setup.config, setup.model.folder) as fleet,
        IncidentLog(fleet.watch, run.path),
    ):
        writing = None
        if setup.writes:
            fleet.wait_ready()
            in_flight = setup.config.generator.groups_in_flight
            writing = pool_writing(fleet.pool, setup.model, setup.builder, in_flight)
        prompts = setup.training_prompts(writing)
        test_sets = setup.test_sets()
        before_after.announce(setup, prompts, test_sets)
        fleet.begin(fleet.stream(prompts.table, setup.sampling), run.path)
        fleet.wait_ready()
        before_after.check_teacher(setup, fleet.pool, prompts)
        before = before_after.evaluate(setup, fleet.pool, test_sets, run, "base")
        with StatusLine(setup.config, run.path), Validation(setup, fleet, run.path):
            train(fleet, run)
        result = choose_result(setup, fleet, run)
        after = before_after.evaluate(setup, fleet.pool, test_sets, run, "final", result.served)
        finish(setup, fleet, run, result, before, after, time.perf_counter() - began)
    write_at_end(run.path, setup.model.tokenizer)


if __name__ == "__main__":
    sys.exit(run_main(main, build_parser(__doc__)))
