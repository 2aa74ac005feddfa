"""Records of one JSONL or Parquet file."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from unisd_core.errors import UserError, reason
from unisd_core.tasks.data import Record, read_jsonl


def read_file(path: Path) -> list[Record]:
    """Every row of a ``.jsonl`` or ``.parquet`` file in order, places as ``file:row`` from 1.

    Raises UserError naming the file when it is of another kind, cannot be read or is empty.
    """
    if path.suffix == ".jsonl":
        return read_jsonl(path)
    if path.suffix != ".parquet":
        raise UserError(f"{path}: must be a .jsonl or .parquet file; convert it")
    try:
        rows = pq.read_table(path).to_pylist()
    # ValueError and OverflowError: text that is not UTF-8, times that Python has none for.
    except (OSError, pa.ArrowException, ValueError, OverflowError) as error:
        raise UserError(f"{path}: cannot be read as Parquet ({reason(error)})") from error
    if not rows:
        raise UserError(f"{path}: no rows")
    return [Record(fields, index, f"{path}:{index + 1}") for index, fields in enumerate(rows)]
