"""The results file of a grid: one JSON line for each finished run, and where a line comes from."""

from __future__ import annotations

import logging
import os
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from pipelines.ablation.grid import Cell, training_key
from unisd_core.common.errors import UserError, reason
from unisd_core.common.files import json_lines
from unisd_core.common.user_text import read_json
from unisd_core.config.run import Config
from unisd_core.evaluation.comparison import ResultLine, SetOutcome, pack_outcomes, rows_digest
from unisd_core.evaluation.outcomes import rows_content

logger = logging.getLogger(__name__)

_INCOMPLETE = (
    OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError,
    pa.ArrowException,
)  # fmt: skip
"""What reading a result meets where a file is missing, torn or not ours."""


def read_results(path: Path) -> list[ResultLine]:
    """Every run of the file, none where it does not exist.

    A last line without an end was cut off by a crash and is left out with a warning.
    Raises UserError for any other line that cannot be read.
    """
    try:
        found = json_lines(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    lines = []
    for number, line in enumerate(found, start=1):
        if not line.ended:
            logger.warning("%s: the last line is cut off and not counted", path)
            continue
        try:
            lines.append(ResultLine.model_validate_json(line.text))
        except ValidationError:
            raise UserError(f"{path}: line {number} is no result of a run; remove it") from None
    return lines


def append_result(path: Path, line: ResultLine) -> None:
    """Add one line that is on disk when this returns; a cut-off last line is removed first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        file.seek(0)
        whole = file.read().rpartition(b"\n")
        file.truncate(len(whole[0] + whole[1]))
        file.write(line.model_dump_json().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def is_finished(cell: Cell) -> bool:
    """Whether the cell's folder holds a finished run of the cell's settings."""
    folder = cell.folder.resolve()
    if not (folder / "summary.json").exists():
        return False
    done = Config.from_saved(folder / "config.yaml")
    if cell.config.rollout.max_completion_length == 0:
        # The run filled in the task's own limit.
        rollout = done.rollout.model_copy(update={"max_completion_length": 0})
        done = done.model_copy(update={"rollout": rollout})
    return training_key(done) == cell.key


def collect(cell: Cell) -> ResultLine:
    """Outcome of the finished run in the cell's folder.

    Raises UserError where the folder lacks a file or one of them cannot be read.
    """
    try:
        summary = read_json(cell.folder / "summary.json")
        return ResultLine(
            key=cell.key,
            label=cell.label,
            preset=cell.preset,
            seed=cell.config.seed,
            steps=summary["steps"],
            batch=cell.config.training.batch_size,
            test_sets={name: _outcome(cell, name) for name in summary["accuracy"]},
            seconds=round(summary["seconds"]["total"], 1),
            tokens={
                stage: round(rate * summary["seconds"][stage])
                for stage, rate in summary["tokens_per_second"].items()
            },
            mechanisms=summary["mechanisms"],
            versions={
                "unisd": metadata.version("unisd-ray"),
                **{name: summary["versions"].get(name, "") for name in ("torch", "vllm", "ray")},
            },
        )
    except _INCOMPLETE as error:
        what = f"{type(error).__name__}: {reason(error)}"
        raise UserError(
            f"{cell.folder}: holds no complete result ({what}); remove it and start again"
        ) from None


def _outcome(cell: Cell, name: str) -> SetOutcome:
    base_uids, base_B, before = _read(cell.folder / "evaluation" / f"base-{name}.parquet")
    final_uids, final_B, after = _read(cell.folder / "evaluation" / f"final-{name}.parquet")
    if (base_uids, before) != (final_uids, after):
        raise ValueError(f"{name}: rows before and after training differ")
    return SetOutcome(
        rows=len(final_uids),
        base=float(base_B.mean()),
        final=float(final_B.mean()),
        base_bits=pack_outcomes(base_B),
        final_bits=pack_outcomes(final_B),
        rows_sha256=rows_digest(final_uids),
        content_sha256=after,
    )


def _read(path: Path) -> tuple[list[Any], np.ndarray, str]:
    table = pq.read_table(path, columns=["uid", "correct"])
    correct_B = table["correct"].to_numpy().astype(bool)
    return table["uid"].to_pylist(), correct_B, rows_content(path)
