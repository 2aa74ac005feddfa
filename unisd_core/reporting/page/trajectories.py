"""The trained trajectories: distributions over all of them, and a few to be shown.

Files are read one after the other, so that memory does not grow with the run. Which rows are shown
depends on their number alone: equally far apart from the first to the last.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

SHOWN = 12
"""Trajectories on a page."""

BINS = 40
BIN_WIDTH = 0.05
"""Weights are counted in bins from 0 on; the last one takes all that are larger."""

_MEASURED = ["completion_ids", "token_weights", "sequence_weight", "version_first", "batch"]
_SHOWN = [
    "uid", "prompt_ids", "completion_ids", "logprobs", "version_first", "finish_reason", "source",
    "auxiliary_logprobs", "negative_logprobs", "token_weights", "sequence_weight", "batch",
]  # fmt: skip


@dataclass
class Trajectories:
    """Counts over ``rows`` trajectories; weights are token weight times row weight."""

    rows: int = 0
    tokens: int = 0
    unreadable: int = 0
    """Files."""
    token_weights: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    row_weights: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    """Mean weight of each row's tokens."""
    ages: Counter[int] = field(default_factory=Counter)
    """Rows by policy versions between sampling and training."""
    samples: list[dict[str, Any]] = field(default_factory=list)


def read_trajectories(folder: Path, shown: int = SHOWN) -> Trajectories:
    """All trajectories in ``folder``; nothing where there is none."""
    found = Trajectories()
    sizes: list[tuple[Path, int]] = []
    for path in sorted(folder.glob("step-*.parquet")):
        try:
            table = pq.read_table(path, columns=_MEASURED)
            _measure(table, found)
        except (OSError, pa.ArrowException, ValueError, TypeError, KeyError):
            found.unreadable += 1
            continue
        sizes.append((path, table.num_rows))
    wanted = set(np.linspace(0, found.rows - 1, min(shown, found.rows)).astype(int).tolist())
    first = 0
    for path, rows in sizes:
        inside = [place - first for place in sorted(wanted) if first <= place < first + rows]
        first += rows
        if inside:
            found.samples += _rows(path, inside)
    return found


def _measure(table: pa.Table, found: Trajectories) -> None:
    lengths = np.array([len(ids) for ids in table["completion_ids"].to_pylist()], np.int64)
    weights = [np.array(row, np.float64) for row in table["token_weights"].to_pylist()]
    sequence = table["sequence_weight"].to_numpy().astype(np.float64)
    # Before anything is counted: what is no number ends here.
    ages = [int(age) for age in table["batch"].to_numpy() - table["version_first"].to_numpy()]
    weighted = [one * factor for one, factor in zip(weights, sequence, strict=True) if one.size]
    if [one.size for one in weights] != lengths.tolist():
        raise ValueError("weights that belong to no token")
    if weighted:
        found.token_weights += _counted(np.concatenate(weighted))
        found.row_weights += _counted(np.array([one.mean() for one in weighted]))
    found.ages.update(ages)
    found.rows += table.num_rows
    found.tokens += int(lengths.sum())


def _counted(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Values that are not finite are left out."""
    # A weight of exactly 1 is counted just below the edge, with the largest that agreement gives.
    places = np.ceil(values[np.isfinite(values)] / BIN_WIDTH - 1e-6) - 1
    return np.bincount(np.clip(places, 0, BINS - 1).astype(np.int64), minlength=BINS)


def _rows(path: Path, places: list[int]) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = pq.read_table(path, columns=_SHOWN).take(places).to_pylist()
    except (OSError, pa.ArrowException, KeyError):  # an older release's columns
        return []
    return rows
