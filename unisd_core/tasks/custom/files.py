"""Records of one JSONL or Parquet file."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from unisd_core.common.errors import UserError, reason
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


def with_reference(record: Record) -> Record:
    """``record`` with ``prompt`` and ``reference`` where it holds chat ``messages`` (one user turn
    and its answer) or a ``completion`` instead, as training data often do."""
    fields = record.fields
    if fields.get("reference") is not None:
        return record
    if fields.get("completion") is not None:
        return record.plus(reference=fields["completion"])
    messages = fields.get("messages")
    if messages is None:
        return record
    turns = [
        (turn.get("role"), turn.get("content")) if isinstance(turn, dict) else (None, None)
        for turn in (messages if isinstance(messages, list) else [])
    ]
    if [role for role, _ in turns] != ["user", "assistant"]:
        raise UserError(
            f"{record.place}: field 'messages' must be one user turn and one assistant turn; "
            "give prompt and reference instead"
        )
    return record.plus(prompt=turns[0][1], reference=turns[1][1])
