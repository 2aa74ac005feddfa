"""Runs a grid of presets and seeds one after the other, and compares what they brought.

Every run is a process of its own, so that one that fails does not end the grid. A run that is in
the results file is not repeated, and one that was interrupted is continued: the same
command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import logging
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO

from pipelines.ablation.grid import Cell, Grid, load_grid
from pipelines.ablation.results import append_result, collect, is_finished, read_results
from pipelines.command.cli import PRESETS_DIR
from pipelines.command.console import report
from pipelines.command.help import CommandParser
from unisd_core.common.errors import UserError
from unisd_core.evaluation.comparison import compare, render_markdown

Launch = Callable[[list[str]], int]

JOB = Path(__file__).parent / "unisd_full.py"
DEFAULT_REFERENCE = "sdft"
STOP_TIMEOUT_S = 60.0


def launch_process(command: list[str]) -> int:
    """Run ``command`` and return its exit code; after a failure repeat its last line of errors.

    Its output goes where ours goes. The process does not outlive this call.
    """
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace")
    assert process.stderr is not None
    last = [""]
    follower = threading.Thread(target=_follow, args=(process.stderr, last), daemon=True)
    follower.start()
    try:
        code = process.wait()
    except BaseException:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
    # Not until the end of the stream: a process left behind may hold it open.
    follower.join(timeout=5)
    if code:
        sys.stderr.write(f"last line: {last[0]}\n")
    return code


def _follow(stream: IO[str], last: list[str]) -> None:
    for line in stream:
        sys.stderr.write(line)
        if line.strip():
            last[0] = line.strip()


def command_of(cell: Cell) -> list[str]:
    """The command line that runs a cell."""
    return [sys.executable, str(JOB), "--preset", cell.preset, *cell.overrides]


def run_cells(grid: Grid, results: Path, limit: int | None, launch: Launch) -> list[str]:
    """Run the cells that are not in ``results``, at most ``limit``; return the names of the failed.

    Each finished cell is added to ``results`` at once.
    """
    known = {line.key for line in read_results(results)}
    waiting = [cell for cell in grid.cells if cell.key not in known]
    report(f"{grid.name}: {len(grid.cells) - len(waiting)} of {len(grid.cells)} runs are done")
    failed: list[str] = []
    for number, cell in enumerate(waiting[:limit], start=1):
        report(f"{cell.name}: run {number} of {len(waiting[:limit])}")
        try:
            if not is_finished(cell):
                code = launch(command_of(cell))
                if code:
                    raise UserError(f"failed with exit code {code}")
            append_result(results, collect(cell))
        except UserError as error:
            failed.append(cell.name)
            sys.stderr.write(f"{cell.name}: {error}\n")
    return failed


def publish(grid: Grid, results: Path, reference: str | None) -> None:
    """Print the table of all runs in ``results``, draw it beside that file, and put it between
    the grid's markers on the page named like the file's folder, where it has them."""
    lines = read_results(results)
    if not lines:
        report(f"{results}: no finished runs yet")
        return
    table = compare(lines, reference, order=grid.labels)
    markdown = render_markdown(table, reference)
    report("\n" + markdown)
    # Imported late: takes a second.
    from pipelines.ablation.figure import draw

    figure = results.with_suffix(".svg")
    draw(table, reference, figure)
    report(f"figure in {figure}")
    page = results.parent.with_suffix(".md")
    if page.is_file() and _replace_table(page, grid.name, markdown):
        report(f"table in {page}")


def _replace_table(page: Path, name: str, markdown: str) -> bool:
    """Whether the page has the markers; what stands between them is replaced."""
    text = page.read_text(encoding="utf-8")
    begin, end = f"<!-- table:{name} -->", "<!-- end -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    new, count = pattern.subn(lambda _: f"{begin}\n\n{markdown}\n{end}", text, count=1)
    if new != text:
        page.write_text(new, encoding="utf-8")
    return count > 0


def _warn_of_other_settings(grid: Grid, results: Path) -> None:
    newest = {(line.label, line.seed): line.key for line in read_results(results)}
    for cell in grid.cells:
        if newest.get((cell.label, cell.config.seed), cell.key) != cell.key:
            sys.stderr.write(f"{cell.name}: the table shows a run with other settings\n")


def build_parser() -> argparse.ArgumentParser:
    """Parser of this program's arguments."""
    parser = CommandParser(PRESETS_DIR, description=__doc__)
    parser.add_argument("--grid", required=True, metavar="NAME", help="name of a grid, or a file")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings of every run, as data_dir=data"
    )
    parser.add_argument(
        "--results", type=Path, metavar="FILE", help="default: docs/results/<grid>.jsonl"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="start at most N runs")
    parser.add_argument("--only", metavar="LABELS", help="only these runs, as sft,gkd")
    parser.add_argument(
        "--reference",
        metavar="LABEL",
        help=f"compare with this run; default: {DEFAULT_REFERENCE} where the grid has it",
    )
    parser.add_argument("--dry-run", action="store_true", help="list the runs and stop")
    parser.add_argument("--draw", action="store_true", help="only table and figure, no runs")
    return parser


@dataclass(frozen=True)
class AblateOptions:
    """The options of this program, by the names they have on the command line."""

    grid: str
    overrides: Sequence[str] = ()
    results: Path | None = None
    limit: int | None = None
    only: str | None = None
    reference: str | None = None
    dry_run: bool = False
    draw: bool = False


def run(options: AblateOptions, launch: Launch = launch_process) -> int:
    """Run the grid; returns the exit code, 1 where a run failed. Raises UserError."""
    grid = load_grid(options.grid, options.overrides, PRESETS_DIR)
    results = options.results or Path("docs") / "results" / f"{grid.name}.jsonl"
    if options.limit is not None and options.limit < 0:
        raise UserError(f"--limit {options.limit}: must be 0 or more")
    reference = options.reference
    if reference is not None:
        grid.check_label(reference, "--reference")
    elif DEFAULT_REFERENCE in grid.labels:
        reference = DEFAULT_REFERENCE
    chosen = grid.only(options.only.split(",")) if options.only is not None else grid
    if options.dry_run:
        known = {line.key for line in read_results(results)}
        for cell in chosen.cells:
            report(f"{'done' if cell.key in known else 'to run'}  {shlex.join(command_of(cell))}")
        return 0
    failed = [] if options.draw else run_cells(chosen, results, options.limit, launch)
    publish(grid, results, reference)
    if not options.draw:
        _warn_of_other_settings(grid, results)
    if failed:
        sys.stderr.write(f"failed: {', '.join(failed)}\n")
    return 1 if failed else 0


def main(argv: Sequence[str] | None = None, launch: Launch = launch_process) -> int:
    """Parse ``argv`` and run the grid; user errors are one line and code 2, an interrupt is 130."""
    args = build_parser().parse_intermixed_args(argv)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        given = {field.name: getattr(args, field.name) for field in fields(AblateOptions)}
        return run(AblateOptions(**given), launch)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    except UserError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 2


def command() -> int:
    """The console script; returns its exit code."""
    # A job that is stopped takes the run it waits for along.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    return main()


if __name__ == "__main__":
    sys.exit(command())
