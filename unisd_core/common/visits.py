"""Visits: the names under which the accounts of a run know its rollouts."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa


class Visit(NamedTuple):
    """One try at a prompt.

    ``position`` counts prompts in the order in which a run visits them. ``attempt`` tells tries at
    the same position apart: only the newest one is accepted.
    """

    position: int
    attempt: int


@dataclass(frozen=True)
class LostRow:
    """A visit that ended without an optimizer step."""

    uid: str
    position: int
    attempt: int
    version: int
    """Of the student at that time."""
    reason: str

    @property
    def visit(self) -> Visit:
        """Its name in the accounts."""
        return Visit(self.position, self.attempt)


class VisitingOrder:
    """The order in which ``rows`` prompts are visited: a fresh permutation every epoch."""

    def __init__(self, rows: int, seed: int) -> None:
        self.rows, self.seed = rows, seed
        self._epoch: tuple[int, list[int]] = (-1, [])

    def row_of(self, position: int) -> int:
        """Index of the prompt visited at ``position``."""
        epoch, offset = divmod(position, self.rows)
        if self._epoch[0] != epoch:
            order = list(range(self.rows))
            random.Random(f"{self.seed}/{epoch}").shuffle(order)
            self._epoch = (epoch, order)
        return self._epoch[1][offset]


def visits_of(table: pa.Table) -> list[Visit]:
    """The visit of each row of ``table``, which has columns ``position`` and ``attempt``."""
    return list(map(Visit, table["position"].to_pylist(), table["attempt"].to_pylist()))
