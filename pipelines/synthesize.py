"""Data synthesis: prompts in, scored and filtered completions out, as Parquet with a data card.

Samples on the same generator pool as training and scores with the same stage. An interrupted
synthesis goes on where it stopped: the same command does what is missing.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import Any

from actors.runtime.resource_plan import render_plan, synthesis_plan
from pipelines.command.cli import build_parser, run_main
from pipelines.command.console import report
from pipelines.command.signals import interruptible
from pipelines.synthesis.options import SynthesizeOptions
from unisd_core.common.fast_imports import importing
from unisd_core.config.load import dump_config
from unisd_core.config.run import Config


@dataclass(frozen=True)
class SynthesisResult:
    """Where the rows are, and the content of ``summary.json`` there."""

    folder: str
    summary: dict[str, Any]


def synthesize(config: Config, options: SynthesizeOptions) -> SynthesisResult:
    """Complete every prompt of options.input that options.output does not hold yet. Raises
    UserError for input that cannot be used."""
    # Late: --help must not need torch.
    with importing():
        from actors.runtime.ray_session import connect
        from actors.synthesis.fleet import Synthesizer
        from pipelines.command.incidents import IncidentFollower
        from pipelines.synthesis.plan import SynthesisPlan
        from pipelines.synthesis.progress import Progress, finish

    plan = SynthesisPlan.make(config, options)
    plan.folder.claim(plan.identity)
    report(plan.describe())
    progress = Progress(plan)
    if plan.blocks:
        connect(plan.config)
        with (
            interruptible(),
            Synthesizer(plan.config, plan.model.folder) as fleet,
            IncidentFollower(fleet.watchdog, plan.log_folder),
        ):
            fleet.serve(plan.trained)
            stream = fleet.stream(
                plan.blocks, plan.source, plan.sampling, plan.folder.url, plan.weights
            )
            for shard in fleet.shards(stream):
                progress.add(shard)
    return SynthesisResult(plan.folder.url, finish(plan, progress))


def main(config: Config, args: argparse.Namespace) -> None:
    """Synthesise, or with --dry-run print the resolved settings and what would be done."""
    options = SynthesizeOptions(args.output, args.input, args.weights, args.any_base)
    if not args.dry_run:
        synthesize(config, options)
        return
    with importing():
        from pipelines.synthesis.plan import SynthesisPlan

    plan = SynthesisPlan.make(config, options)
    sys.stdout.write(dump_config(plan.config) + "\n" + render_plan(synthesis_plan(plan.config)))
    report(plan.describe())


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
    options.add_argument(
        "--any-base",
        action="store_true",
        help="use an adapter also on another model than the one it was trained on",
    )
    return options


def command() -> int:
    """The console script; returns its exit code."""
    return run_main(main, parser())


if __name__ == "__main__":
    sys.exit(command())
