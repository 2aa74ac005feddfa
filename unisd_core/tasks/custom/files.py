"""Records of one JSONL or Parquet file."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from unisd_core.common.errors import UserError, reason
from unisd_core.tasks.data import Record, check_columns, read_jsonl

logger = logging.getLogger(__name__)


def read_file(path: Path) -> list[Record]:
    """Every row of a ``.jsonl`` or ``.parquet`` file in order, places as ``file:row`` from 1.

    Raises UserError naming the file when it is of another kind, cannot be read or is empty.
    """
    if path.suffix == ".jsonl":
        return read_jsonl(path)
    if path.suffix != ".parquet":
        raise UserError(f"{path}: must be a .jsonl or .parquet file; convert it")
    try:
        check_columns(str(path), pq.read_schema(path).names)
        rows = pq.read_table(path).to_pylist()
    # ValueError and OverflowError: text that is not UTF-8, times that Python has none for.
    except (OSError, pa.ArrowException, ValueError, OverflowError) as error:
        raise UserError(f"{path}: cannot be read as Parquet ({reason(error)})") from error
    if not rows:
        raise UserError(f"{path}: no rows")
    return [Record(fields, index, f"{path}:{index + 1}") for index, fields in enumerate(rows)]


def warn_of_columns(path: Path, records: Iterable[Record], read: Sequence[str]) -> None:
    """Log the columns that nothing reads although their names are nearly those of ``read``."""
    names = {name for record in records for name in record.fields if isinstance(name, str)}
    meant = {plain: name for name in read if name not in names for plain in (name, f"{name}s")}
    for name in sorted(names.difference(read)):
        close = difflib.get_close_matches(name.strip().lower(), meant, n=1, cutoff=0.85)
        if close:
            logger.warning(
                "%s: column %r is not read; did you mean %r?", path, name, meant[close[0]]
            )
