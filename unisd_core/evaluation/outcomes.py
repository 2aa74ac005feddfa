"""Outcomes: a model's answers on one test set, row by row, and the Parquet file that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from unisd_core.common.errors import UserError, reason
from unisd_core.common.files import atomic_path
from unisd_core.models.completion_cache import CompletionText
from unisd_core.tasks.base import Task
from unisd_core.tasks.digests import digest_rows
from unisd_core.tasks.row import Row

_ROWS = b"rows_sha256"
_SCHEMA = pa.schema(
    {
        "uid": pa.string(),
        "category": pa.string(),
        "sample": pa.int32(),
        "completion": pa.string(),
        "finished": pa.bool_(),
        "extracted": pa.bool_(),
        "correct": pa.bool_(),
        "parts": pa.map_(pa.string(), pa.float64()),
    }
)


@dataclass(frozen=True, eq=False)
class Outcomes:
    """N sampled answers to each of B rows, and how the task scored them."""

    uids: list[str]
    categories: list[str]
    completions: list[list[str]]
    """N texts for each row."""
    finished_BN: npt.NDArray[np.bool_]
    """False where the token limit cut an answer off."""
    extracted_BN: npt.NDArray[np.bool_]
    correct_BN: npt.NDArray[np.bool_]
    parts: list[list[dict[str, float]]]
    """The task's finer scores of each answer."""
    rows_sha256: str = ""
    """Digest of the rows' content; "" in files of versions that kept none."""

    @property
    def samples(self) -> int:
        """N."""
        return int(self.correct_BN.shape[1])

    def mean_parts(self) -> dict[str, float]:
        """Mean of each finer score over the answers that have it."""
        values: dict[str, list[float]] = {}
        for answer in (answer for row in self.parts for answer in row):
            for name, value in answer.items():
                values.setdefault(name, []).append(value)
        return {name: float(np.mean(found)) for name, found in values.items()}


def score_outcomes(
    task: Task, rows: Sequence[Row], answers: Sequence[Sequence[CompletionText]]
) -> Outcomes:
    """Score ``answers[n][b]``, the n-th answer to ``rows[b]``, by the task's metric.

    Raises ValueError unless every sample answers every row and there is at least one of each.
    """
    if not rows or not answers or any(len(sample) != len(rows) for sample in answers):
        raise ValueError(f"{len(rows)} rows but {[len(sample) for sample in answers]} answers")
    samples = len(answers)
    by_row = list(zip(*answers, strict=True))
    flat = [(row, answer) for row, found in zip(rows, by_row, strict=True) for answer in found]
    scores = task.score_many([row for row, _ in flat], [answer.text for _, answer in flat])

    def shaped(values: Sequence[bool]) -> npt.NDArray[np.bool_]:
        return np.array(values, dtype=np.bool_).reshape(len(rows), samples)

    parts = [dict(score.parts) for score in scores]
    return Outcomes(
        uids=[row.uid for row in rows],
        categories=[row.category for row in rows],
        completions=[[answer.text for answer in found] for found in by_row],
        finished_BN=shaped([answer.finished for _, answer in flat]),
        extracted_BN=shaped([score.extracted for score in scores]),
        correct_BN=shaped([score.correct for score in scores]),
        parts=[parts[start : start + samples] for start in range(0, len(parts), samples)],
        rows_sha256=digest_rows(rows).whole,
    )


def write_outcomes(outcomes: Outcomes, path: Path) -> None:
    """One line per answer, ordered by row and sample; the file is complete or absent."""
    lines: list[dict[str, Any]] = [
        {
            "uid": uid,
            "category": outcomes.categories[b],
            "sample": n,
            "completion": outcomes.completions[b][n],
            "finished": bool(outcomes.finished_BN[b, n]),
            "extracted": bool(outcomes.extracted_BN[b, n]),
            "correct": bool(outcomes.correct_BN[b, n]),
            "parts": list(outcomes.parts[b][n].items()),
        }
        for b, uid in enumerate(outcomes.uids)
        for n in range(outcomes.samples)
    ]
    schema = _SCHEMA.with_metadata({_ROWS: outcomes.rows_sha256})
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist(lines, schema), temporary, compression="zstd")


def read_outcomes(path: Path) -> Outcomes:
    """What ``write_outcomes`` wrote. Raises UserError for a file it did not write."""
    try:
        lines = pq.read_table(path, schema=_SCHEMA).to_pylist()
        content = rows_content(path)
        samples = 1 + max(line["sample"] for line in lines)
        by_row = [lines[start : start + samples] for start in range(0, len(lines), samples)]
        uids = [row[0]["uid"] for row in by_row]
        if not 1 <= samples <= len(lines) or any(None in line.values() for line in lines):
            raise ValueError("values are missing")
        if any([line["uid"] for line in row] != [row[0]["uid"]] * samples for row in by_row):
            raise ValueError("rows of different lengths")
    except (OSError, pa.ArrowException, ValueError, TypeError) as error:
        raise UserError(f"{path}: holds no evaluated answers ({reason(error)})") from None

    def shaped(name: str) -> npt.NDArray[np.bool_]:
        return np.array([[line[name] for line in row] for row in by_row], dtype=np.bool_)

    return Outcomes(
        uids=uids,
        categories=[row[0]["category"] for row in by_row],
        completions=[[line["completion"] for line in row] for row in by_row],
        finished_BN=shaped("finished"),
        extracted_BN=shaped("extracted"),
        correct_BN=shaped("correct"),
        parts=[[dict(line["parts"]) for line in row] for row in by_row],
        rows_sha256=content,
    )


def rows_content(path: Path) -> str:
    """``Outcomes.rows_sha256`` of a file that ``write_outcomes`` wrote. Raises OSError and
    ArrowException as pyarrow does."""
    metadata = pq.read_schema(path).metadata or {}
    return str(metadata.get(_ROWS, b"").decode("ascii", "replace"))
