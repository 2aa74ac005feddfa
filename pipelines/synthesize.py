"""Data synthesis: prompts in, scored and filtered completions out, as Parquet with a data card.

Samples on the same generator pool as training and scores with the same stage. An interrupted
synthesis goes on where it stopped: the same command does what is missing.
"""

from __future__ import annotations

import argparse
import sys

from actors.runtime.resource_plan import render_plan, synthesis_plan
from pipelines.command.cli import build_parser, run_main
from unisd_core.common.fast_imports import importing
from unisd_core.config.load import dump_config
from unisd_core.config.run import Config


def main(config: Config, args: argparse.Namespace) -> None:
    """Complete every prompt of args.input that args.output does not hold yet."""
    # Imported late: --help must not need torch.
    with importing():
        from actors.runtime.ray_session import connect
        from actors.synthesis.fleet import Synthesizer
        from pipelines.command.console import report
        from pipelines.command.incidents import IncidentLog
        from pipelines.command.signals import interruptible
        from pipelines.synthesis.plan import SynthesisPlan
        from pipelines.synthesis.progress import Progress, finish

    plan = SynthesisPlan.make(config, args)
    if args.dry_run:
        sys.stdout.write(dump_config(plan.config) + "\n" + render_plan(synthesis_plan(plan.config)))
        report(plan.describe())
        return
    plan.folder.claim(plan.identity)
    report(plan.describe())
    progress = Progress(plan)
    if plan.blocks:
        connect(plan.config)
        with (
            interruptible(),
            Synthesizer(plan.config, plan.model.folder) as fleet,
            IncidentLog(fleet.watch, plan.log_folder),
        ):
            fleet.serve(plan.trained)
            stream = fleet.stream(
                plan.blocks, plan.source, plan.sampling, plan.folder.url, plan.weights
            )
            for shard in fleet.shards(stream):
                progress.add(shard)
    finish(plan, progress)


def parser() -> argparse.ArgumentParser:
    """The arguments of every pipeline, and what is made from what."""
    options = build_parser(__doc__)
    options.add_argument(
        "--input",
        metavar="PROMPTS",
        help="a .jsonl or .parquet file, or hub:OWNER/NAME[:CONFIG]:SPLIT; "
        "default: the training rows of task=...",
    )
    options.add_argument(
        "--output", required=True, metavar="FOLDER", help="a folder or any fsspec URL"
    )
    options.add_argument(
        "--weights",
        metavar="FOLDER",
        help="a run, an adapter or a model folder to sample from; default: model.name_or_path",
    )
    return options


if __name__ == "__main__":
    sys.exit(run_main(main, parser()))
