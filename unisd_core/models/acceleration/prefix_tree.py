"""Rows of tokens as a tree: what several of them begin with is there once.

Under causal attention the state of a token depends on nothing behind it, so rows with a common
beginning (a system prompt, one question under two references) have the same states there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import Tensor

T = TypeVar("T")

PADDING = -1
"""Stands behind the last token of a row that is shorter than others."""


@dataclass(frozen=True)
class PrefixTree:
    """B rows of up to T tokens, of which N are different when what comes before them counts."""

    id_N: Tensor
    position_N: Tensor
    """How many tokens come before each in its row."""
    place_BT: Tensor
    """Where each token of the rows is among the N; 0 at padding."""
    first_N: Tensor
    """Where each of the N is in the flattened rows; the first of several places."""

    @classmethod
    def of(cls, ids_BT: Tensor) -> PrefixTree:
        """The tree of rows that end where ``PADDING`` begins, on their device."""
        rows = [row[: row.index(PADDING)] if PADDING in row else row for row in ids_BT.tolist()]
        width = ids_BT.shape[1]
        id_N: list[int] = []
        position_N: list[int] = []
        first_N: list[int] = []
        place_BT = [[0] * width for _ in rows]
        last: int | None = None
        # In this order no row shares more with any other than with one of its neighbours.
        for index in sorted(range(len(rows)), key=rows.__getitem__):
            row = rows[index]
            shared = 0 if last is None else common_length(rows[last], row)
            if last is not None:
                place_BT[index][:shared] = place_BT[last][:shared]
            place_BT[index][shared : len(row)] = range(len(id_N), len(id_N) + len(row) - shared)
            id_N += row[shared:]
            position_N += range(shared, len(row))
            first_N += range(index * width + shared, index * width + len(row))
            last = index
        return cls(
            *(
                torch.tensor(values, dtype=torch.long, device=ids_BT.device)
                for values in (id_N, position_N, place_BT, first_N)
            )
        )

    def rows(self, values_NX: Tensor) -> Tensor:
        """What belongs to the tree's tokens (N, ...) as rows (B, T, ...)."""
        flat = values_NX.index_select(0, self.place_BT.flatten())
        return flat.unflatten(0, self.place_BT.shape)

    def tokens(self, values_BTX: Tensor) -> Tensor:
        """What belongs to the rows (B, T, ...) as that of the tree's tokens (N, ...)."""
        return values_BTX.flatten(0, 1).index_select(0, self.first_N)


def right_padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """(B, T) int64, with ``PADDING`` behind the rows that are shorter than the longest."""
    out_BT = torch.full((len(rows), max(map(len, rows))), PADDING, dtype=torch.long)
    for index, ids in enumerate(rows):
        out_BT[index, : len(ids)] = torch.tensor(ids)
    return out_BT


def predicting(ids_BT: Tensor, starts: Sequence[int]) -> Tensor:
    """(B, T) whether a place predicts a token from ``starts`` on, which is the one behind it."""
    place_T = torch.arange(ids_BT.shape[1], device=ids_BT.device)
    start_B1 = torch.tensor(starts, device=ids_BT.device)[:, None]
    length_B1 = (ids_BT != PADDING).sum(dim=1, keepdim=True)
    return (place_T >= start_B1 - 1) & (place_T < length_B1 - 1)


def by_tokens(
    rows: Iterable[T], ids: Callable[[T], Sequence[int]], limit: int
) -> Iterator[list[T]]:
    """Rows in the order given, in batches (of at least one row) whose trees have at most ``limit``
    tokens. What a row shares is counted by the row before it."""
    batch: list[T] = []
    total, last = 0, cast(Sequence[int], ())
    for row in rows:
        own = ids(row)
        new = len(own) - common_length(last, own)
        if batch and total + new > limit:
            yield batch
            batch, total, new = [], 0, len(own)
        batch.append(row)
        total, last = total + new, own
    if batch:
        yield batch


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """Tokens that both begin with."""
    length = min(len(one), len(other))
    return next((n for n in range(length) if one[n] != other[n]), length)
