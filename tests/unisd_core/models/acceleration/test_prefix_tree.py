"""Every different beginning of the rows is in the tree once, and the rows come out of it again."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from unisd_core.models.acceleration.prefix_tree import (
    PADDING,
    PrefixTree,
    by_tokens,
    predicting,
    right_padded,
)

few_tokens = st.lists(st.integers(0, 2), min_size=1, max_size=6)
rows_of = st.lists(few_tokens, min_size=1, max_size=8)


@given(rows_of)
def test_the_tree_holds_every_beginning_once(rows: list[list[int]]) -> None:
    ids_BT = right_padded(rows)
    tree = PrefixTree.of(ids_BT)
    beginnings = {tuple(row[: n + 1]) for row in rows for n in range(len(row))}
    assert len(tree.id_N) == len(beginnings)
    real_BT = ids_BT != PADDING
    assert torch.equal(tree.rows(tree.id_N)[real_BT], ids_BT[real_BT])
    place_T = torch.arange(ids_BT.shape[1]).expand_as(ids_BT)
    assert torch.equal(tree.rows(tree.position_N)[real_BT], place_T[real_BT])
    assert torch.equal(tree.tokens(ids_BT), tree.id_N)
    assert torch.equal(tree.tokens(tree.place_BT), torch.arange(len(tree.id_N)))
    for row, place_T in zip(rows, tree.place_BT.tolist(), strict=True):
        for other, other_T in zip(rows, tree.place_BT.tolist(), strict=True):
            for n in range(min(len(row), len(other))):
                assert (place_T[n] == other_T[n]) == (row[: n + 1] == other[: n + 1])


@given(rows_of, st.integers(1, 20))
def test_batches_keep_the_order_and_the_limit(rows: list[list[int]], limit: int) -> None:
    batches = list(by_tokens(rows, lambda row: row, limit))
    assert [row for batch in batches for row in batch] == rows
    sizes = [len(PrefixTree.of(right_padded(batch)).id_N) for batch in batches]
    for batch, size in zip(batches, sizes, strict=True):
        assert size <= limit or len(batch) == 1


def test_a_sorted_batch_is_as_full_as_its_tree_allows() -> None:
    rows = [[1, 2, 3, n] for n in range(9)]
    assert [len(batch) for batch in by_tokens(rows, lambda row: row, 6)] == [3, 3, 3]


@given(st.lists(st.tuples(few_tokens, st.lists(st.integers(0, 2), max_size=4)), min_size=1))
def test_a_token_is_predicted_from_the_place_before_it(
    texts: list[tuple[list[int], list[int]]],
) -> None:
    ids_BT = right_padded([prompt + completion for prompt, completion in texts])
    wanted_BT = predicting(ids_BT, [len(prompt) for prompt, _ in texts])
    behind_BT = torch.roll(wanted_BT, 1, dims=1)
    assert ids_BT[behind_BT].tolist() == [token for _, completion in texts for token in completion]
