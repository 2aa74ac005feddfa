"""Rows of list columns, as views of Arrow's memory."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unisd_core.common.columns import (
    BLOCK,
    all_finite,
    inner_lengths,
    lengths,
    list_array,
    row_matrices,
    row_values,
    rows_where,
)

LISTS = st.none() | st.lists(st.integers(0, 99), max_size=5)
FLAT = pa.large_list(pa.int32())
NESTED = pa.list_(pa.list_(pa.float32()))


def in_pieces(rows: list, kind: pa.DataType, cut: int) -> pa.ChunkedArray:
    """A column as a stream leaves it: the ends are cut off, and it has several chunks."""
    whole = pa.chunked_array([pa.array([None, *rows, None], kind)]).slice(1, len(rows))
    return pa.chunked_array([*whole.slice(0, cut).chunks, *whole.slice(cut).chunks], kind)


def addresses(table: pa.Table) -> set[int]:
    return {
        values.to_numpy().__array_interface__["data"][0]
        for values in row_values(table["list"])
        if values is not None and len(values)
    }


@given(st.lists(LISTS, max_size=6), st.data())
def test_rows_are_kept_as_a_filter_would_and_most_stay_where_they_are(rows, data) -> None:
    column = in_pieces(rows, FLAT, data.draw(st.integers(0, len(rows))))
    table = pa.table({"list": column})
    keep = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    kept = rows_where(table, keep)
    assert kept == table.filter(pa.array(keep, pa.bool_()))
    if 2 * sum(keep) >= len(rows):
        assert addresses(kept) <= addresses(table)
    else:
        assert not addresses(kept) & addresses(table), "which would keep the memory of all"


def test_every_row_needs_an_answer() -> None:
    with pytest.raises(ValueError, match="1 answers for 2 rows"):
        rows_where(pa.table({"row": [1, 2]}), [True])


@given(st.lists(LISTS, max_size=6), st.data())
def test_rows_of_lists(rows, data) -> None:
    column = in_pieces(rows, FLAT, data.draw(st.integers(0, len(rows))))
    assert [v if v is None else v.to_pylist() for v in row_values(column)] == rows
    assert lengths(column) == [len(row or []) for row in rows]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=5), st.data())
def test_rows_of_lists_of_lists(shapes, data) -> None:
    given_rows = [np.random.default_rng(0).random(shape, np.float32) for shape in shapes]
    rows = [row.tolist() for row in given_rows]
    column = in_pieces(rows, NESTED, data.draw(st.integers(0, len(rows))))
    assert inner_lengths(column) == [[len(part) for part in row] for row in rows]
    for found, row in zip(row_matrices(column), given_rows, strict=True):
        assert found.shape[0] == row.shape[0] and np.array_equal(found.ravel(), row.ravel())
    for values, row in zip(row_values(column), given_rows, strict=True):
        assert values.to_pylist() == row.ravel().tolist()


@pytest.mark.parametrize("row", [[[1.0], [2.0, 3.0]], None])
def test_lists_of_different_lengths_are_no_matrix(row) -> None:
    with pytest.raises(ValueError, match="row 1"):
        row_matrices(pa.chunked_array([pa.array([[[1.0]], row], NESTED)]))


@given(st.lists(st.none() | st.lists(st.floats(width=32), max_size=4), max_size=5))
def test_arrays_become_lists(rows) -> None:
    arrays = [None if row is None else np.array(row, np.float32) for row in rows]
    for kind in (pa.list_(pa.float32()), pa.large_list(pa.float32())):
        made = list_array(arrays, kind)
        assert made.type == kind and made.is_valid().to_pylist() == [r is not None for r in rows]
        # As text, because NaN is not itself.
        assert str(made.to_pylist()) == str(pa.array(arrays, kind).to_pylist())


@given(st.lists(st.none() | st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=5))
def test_matrices_become_lists_of_lists(shapes) -> None:
    arrays = [None if shape is None else np.ones(shape, np.float32) for shape in shapes]
    rows = [None if array is None else array.tolist() for array in arrays]
    made = list_array(arrays, NESTED)
    assert made.type == NESTED and made.to_pylist() == rows


def test_one_row_is_not_copied() -> None:
    row = np.arange(5, dtype=np.float32)
    made = list_array([None, row], pa.large_list(pa.float32()))
    assert np.shares_memory(made.values.to_numpy(), row)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("place", [0, BLOCK - 1, BLOCK, 2 * BLOCK + 1])
def test_a_bad_number_is_found_wherever_it_is(value, half, place) -> None:
    numbers = torch.randn(2 * BLOCK + 2)
    assert all_finite(column_of(numbers, half))
    numbers[place] = value
    assert not all_finite(column_of(numbers, half))


@pytest.mark.parametrize("half", [False, True])
def test_large_numbers_are_finite(half) -> None:
    assert all_finite(column_of(torch.tensor([3e38, -3e38, 1e-45]), half))


def column_of(numbers: torch.Tensor, half: bool) -> pa.ChunkedArray:
    bits = numbers.bfloat16().view(torch.uint16) if half else numbers
    values = pa.array(bits.numpy())
    return pa.chunked_array([list_array([bits.numpy()], pa.large_list(values.type))])
