"""Writes report.html into the folders of runs, and a page that compares several.

A run writes its own page when it ends; this makes it again, also for runs that have not finished.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pipelines.command.console import report
from unisd_core.common.errors import UserError, reason
from unisd_core.common.files import replace_file
from unisd_core.reporting.page.comparison_page import comparison_page
from unisd_core.reporting.page.run_files import RunRecord, read_run
from unisd_core.reporting.page.run_page import run_page
from unisd_core.reporting.page.tokens import Decode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PAGE = "report.html"


def write_at_end(path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write the page of the run in ``path``. A run that has done all its work is not failed by
    it: what went wrong is said instead."""
    try:
        _write(path / PAGE, run_page(read_run(path), _decode(tokenizer)))
    except Exception as error:
        report(f"{path / PAGE}: not written ({reason(error)}); make report tries again")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pages of the runs in ``argv``; user errors are one line and code 2."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        write_pages(args.runs or _all_runs(Path("runs")), args.out)
    except UserError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 2
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Parser of this program's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "runs", nargs="*", type=Path, metavar="RUN", help="folders of runs; default: all in runs/"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="write <run>.html and report.html there, and nothing into the runs' folders",
    )
    return parser


def write_pages(paths: Sequence[Path], out: Path | None) -> None:
    """Write each run's page and, of several, the comparison: beside the first run's folder, or to
    ``out``. Raises UserError for a folder that is no run or cannot be written to."""
    runs = [read_run(path) for path in dict.fromkeys(path.resolve() for path in paths)]
    pages = _places(runs, out)
    decoders: dict[str, Decode | None] = {}
    for run, page in zip(runs, pages, strict=True):
        model = str(run.settings.get("model.name_or_path"))
        if model not in decoders:
            decoders[model] = _local_decode(model) if _has_trajectories(run) else None
        _write(page, run_page(run, decoders[model]))
    if len(runs) > 1:
        together = (out or runs[0].path.parent) / PAGE
        links = [quote(os.path.relpath(page, together.parent)) for page in pages]
        _write(together, comparison_page(runs, links))


def _places(runs: Sequence[RunRecord], out: Path | None) -> list[Path]:
    if out is None:
        return [run.path / PAGE for run in runs]
    names = [run.path.name for run in runs]
    return [
        # Runs of one name in several folders; none may take the place of the comparison.
        out / (f"{name}-{place}.html" if names.count(name) > 1 or f"{name}.html" == PAGE
               else f"{name}.html")
        for place, name in enumerate(names)
    ]  # fmt: skip


def _all_runs(folder: Path) -> list[Path]:
    found = sorted(path.parent for path in folder.glob("*/config.yaml"))
    if not found:
        raise UserError(f"{folder}: holds no runs; give their folders: ARGS='some/run other/run'")
    return found


def _has_trajectories(run: RunRecord) -> bool:
    return any((run.path / "trajectories").glob("*.parquet"))


def _local_decode(model: str) -> Decode | None:
    """The model's tokenizer where this machine has it; a page is no reason to fetch a model."""
    # Imported late: --help must not need torch.
    from unisd_core.models.fetch import local_model
    from unisd_core.models.load import load_tokenizer

    folder = local_model(model)
    if folder is None:
        return None
    try:
        return _decode(load_tokenizer(folder))
    except (UserError, OSError, ValueError) as error:
        report(f"{folder}: no tokenizer ({reason(error)}); tokens are shown as ids")
        return None


def _decode(tokenizer: Any) -> Decode:
    return partial(tokenizer.decode, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def _write(page: Path, text: str) -> None:
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        replace_file(page, text)
    except OSError as error:
        raise UserError(
            f"{page}: cannot be written ({error.strerror}); choose a folder with --out"
        ) from None
    report(f"report in {page}")


if __name__ == "__main__":
    sys.exit(main())
