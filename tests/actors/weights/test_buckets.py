"""Weights cut into buckets come out as they went in, and only as they went in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from actors.weights.buckets import into_buckets, out_of_buckets, pack, unpack

WEIGHTS = st.dictionaries(
    st.text(min_size=1, max_size=8),
    arrays.arrays(np.float32, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)),
    max_size=6,
)


@given(WEIGHTS, st.integers(1, 400))
def test_nothing_is_lost_and_no_bucket_is_too_large(weights, limit):
    buckets = list(into_buckets(weights, limit))
    back = out_of_buckets(buckets)
    assert back.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].shape == array.shape
    sizes = [sum(piece.values.nbytes for piece in bucket) for bucket in buckets]
    assert all(size <= max(limit, 4) for size in sizes)
    # All but the last are full, to within one element.
    assert all(size > limit - 4 for size in sizes[:-1])


@given(WEIGHTS, st.integers(1, 400))
def test_an_update_names_its_bytes(weights, limit):
    update = pack(3, weights, limit=limit)
    assert update.size == sum(array.nbytes for array in weights.values())
    read = unpack(update)
    assert {name: tensor.numpy().tobytes() for name, tensor in read.items()} == {
        name: array.tobytes() for name, array in weights.items()
    }


def test_a_changed_missing_or_misplaced_piece_is_refused():
    update = pack(3, {"a": np.arange(6, dtype=np.float32), "b": np.ones(2, np.float32)}, limit=16)
    first, *others = update.buckets
    (piece,) = first
    values = piece.values.copy()
    values[1] = np.nextafter(values[1], 9)
    for broken in (
        ([replace(piece, values=values)], *others),
        tuple(others),
        ([replace(piece, first=2)], *others),
        ([replace(piece, name="c")], *others),
        (*others, first),
    ):
        with pytest.raises(ValueError, match="version 3: received"):
            unpack(replace(update, buckets=broken))
