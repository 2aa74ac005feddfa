"""Columns of lists: numbers of rows between Arrow and NumPy, without a Python object for each.

Rows are views of the column's buffers, at any depth of lists, and must not be written to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

BLOCK = 1 << 17
"""Numbers looked at in one go, where they are looked at twice: they stay in the cache."""


def rows_where(table: pa.Table, keep: Sequence[bool] | np.ndarray) -> pa.Table:
    """The rows of ``table`` for which ``keep`` is true, as slices where they are at least half of
    all: Arrow's ``filter`` and ``take`` copy lists number by number. Fewer rows are copied, so
    that they do not keep the memory of the others."""
    if len(keep) != table.num_rows:
        raise ValueError(f"{len(keep)} answers for {table.num_rows} rows")
    edges = np.flatnonzero(np.diff(np.concatenate([[False], np.asarray(keep, bool), [False]])))
    runs = [table.slice(start, stop - start) for start, stop in edges.reshape(-1, 2).tolist()]
    if not runs:
        return table.schema.empty_table()
    kept = pa.concat_tables(runs)
    return kept if 2 * kept.num_rows >= table.num_rows else unpacked(packed(kept))


def packed(table: pa.Table) -> pa.Buffer:
    """``table`` as bytes, and nothing of what its rows are slices of."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()


def unpacked(buffer: pa.Buffer) -> pa.Table:
    """The table that was ``packed``, in the memory of ``buffer``."""
    return pa.ipc.open_stream(buffer).read_all()


def row_values(column: pa.ChunkedArray) -> list[pa.Array | None]:
    """What each row of a column of lists holds, flattened; None where it is null."""
    return [values for chunk in column.chunks for values in _chunk_values(chunk)]


def row_matrices(column: pa.ChunkedArray) -> list[np.ndarray]:
    """Each row of a column of K lists of T numbers as (K, T).

    Raises ValueError for lists of different lengths in one row, and for a null.
    """
    values, lengths = row_values(column), inner_lengths(column)
    matrices = []
    for index, (flat, counts) in enumerate(zip(values, lengths, strict=True)):
        if flat is None or len(set(counts)) > 1:
            raise ValueError(f"row {index}: lists of lengths {sorted(set(counts))}, expected one")
        shape = len(counts), counts[0] if counts else 0
        matrices.append(flat.to_numpy(zero_copy_only=False).reshape(shape))
    return matrices


def lengths(column: pa.ChunkedArray) -> list[int]:
    """Entries of each row's list; 0 where it is null."""
    return [length or 0 for length in pc.list_value_length(column).to_pylist()]


def inner_lengths(column: pa.ChunkedArray) -> list[list[int]]:
    """Entries of each list in each row's list of lists."""
    inner = iter(pc.list_value_length(pc.list_flatten(column)).to_pylist())
    return [[next(inner) for _ in range(length)] for length in lengths(column)]


def list_array(rows: Sequence[np.ndarray | None], kind: pa.DataType) -> pa.Array:
    """Rows of numbers (T,) as an array of lists, or rows (K, T) as one of lists of lists, of type
    ``kind``; null where a row is None. Copies the numbers once, or not at all where there is one
    row of their type."""
    given = [row for row in rows if row is not None]
    if not given:
        return pa.nulls(len(rows), kind)
    flat = [row.ravel() for row in given]
    values = pa.array(flat[0] if len(flat) == 1 else np.concatenate(flat), _number_type(kind))
    if _is_list(kind.value_type):
        inner = [row.shape[1] for row in given for _ in range(len(row))]
        values = _lists(inner, values, kind.value_type, None)
    null = np.array([row is None for row in rows], bool)
    sizes = [0 if row is None else len(row) for row in rows]
    return _lists(sizes, values, kind, pa.array(null) if null.any() else None)


def all_finite(column: pa.ChunkedArray) -> bool:
    """Whether no number of ``column`` (numbers, or lists of them at any depth) is NaN or infinite.
    16-bit whole numbers are the bits of bfloat16."""
    return all(_finite(_numbers(chunk)) for chunk in column.chunks)


def _chunk_values(chunk: pa.Array) -> Iterator[pa.Array | None]:
    if not len(chunk):
        return
    ends, values = chunk.offsets.to_numpy(), chunk.values
    while _is_list(values.type):
        ends, values = values.offsets.to_numpy()[ends], values.values
    valid = chunk.is_valid().to_pylist()
    for start, end, given in zip(ends[:-1].tolist(), ends[1:].tolist(), valid, strict=True):
        yield values.slice(start, end - start) if given else None


def _lists(
    sizes: list[int], values: pa.Array, kind: pa.DataType, null: pa.Array | None
) -> pa.Array:
    large = pa.types.is_large_list(kind)
    offsets = np.zeros(len(sizes) + 1, np.int64 if large else np.int32)
    np.cumsum(sizes, out=offsets[1:])
    make = pa.LargeListArray if large else pa.ListArray
    return make.from_arrays(pa.array(offsets), values, type=kind, mask=null)


def _number_type(kind: pa.DataType) -> pa.DataType:
    return _number_type(kind.value_type) if _is_list(kind) else kind


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _numbers(values: pa.Array) -> np.ndarray:
    while _is_list(values.type):
        values = values.flatten()
    return values.to_numpy(zero_copy_only=False)


def _finite(values: np.ndarray) -> bool:
    if values.dtype == np.uint16:
        # Of 16 bits, infinity and NaN have the largest whole numbers: those above zero if the
        # first bit is a sign, those below if it is not.
        blocks = (values[start : start + BLOCK] for start in range(0, len(values), BLOCK))
        return all(block.view(np.int16).max() < 0x7F80 and block.max() < 0xFF80 for block in blocks)
    with np.errstate(over="ignore", invalid="ignore"):
        # Reads memory once and writes none. A sum of squares may overflow where no number is
        # infinite, and only then the numbers are looked at one by one.
        return bool(np.isfinite(np.dot(values, values)) or np.isfinite(values).all())
