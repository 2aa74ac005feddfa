"""Inventory of a synthesis: all prompts, and those still to be done, as numbers only."""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unisd_core.common.errors import UserError
from unisd_core.synthesis.sources import PromptSource

Digests = NDArray[np.uint64]


@dataclass(frozen=True)
class Block:
    """Rows of the source that are sampled, filtered and written together. ``rows`` are the numbers
    of those still to be done, ``start`` and ``stop`` bound all that belong together."""

    start: int
    stop: int
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class Inventory:
    """Every prompt of a source: ``digests`` of the uids in order, and whether rows have
    references."""

    digests: Digests
    references: bool

    def missing(self, done: Digests) -> int:
        """Rows whose uid is not in ``done``."""
        return int(self._wanted(done).sum())

    def pending(self, done: Digests, size: int) -> list[Block]:
        """Blocks of ``size`` rows, in order, that hold a row whose uid is not in ``done``."""
        wanted = self._wanted(done)
        blocks = []
        for start in range(0, len(wanted), size):
            rows = np.flatnonzero(wanted[start : start + size]) + start
            if len(rows):
                blocks.append(Block(start, min(start + size, len(wanted)), rows))
        return blocks

    def _wanted(self, done: Digests) -> NDArray[np.bool_]:
        return ~np.isin(self.digests, done)


def take_inventory(source: PromptSource) -> Inventory:
    """Read ``source`` once, which also checks every row.

    Raises UserError when it is empty, when two rows have the same uid, or when some rows have a
    reference and others none.
    """
    digests = array("Q")
    bare: int | None = None
    referenced: int | None = None
    for number, row in enumerate(source.stream()):
        digests.append(uid_digest(row.uid))
        if row.reference:
            referenced = number if referenced is None else referenced
        elif bare is None:
            bare = number
    if not digests:
        raise UserError(f"{source.name}: no prompts")
    if bare is not None and referenced is not None:
        raise UserError(
            f"{source.name}: row {bare + 1} has no reference and row {referenced + 1} has one; "
            "give one to every row or to none"
        )
    numbers = np.frombuffer(digests, dtype=np.uint64)
    _check_unique(source, numbers)
    return Inventory(numbers, bare is None)


def _check_unique(source: PromptSource, digests: Digests) -> None:
    ordered = np.sort(digests)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(twice):
        first, second = np.flatnonzero(digests == twice[0])[:2].tolist()
        raise UserError(
            f"{source.name}: rows {first + 1} and {second + 1} have the same uid, or the same "
            "prompt and reference; remove one of them"
        )


def uid_digest(uid: str) -> int:
    """64 bits, which two of ten million uids share with a chance of three in a million."""
    return int.from_bytes(hashlib.blake2b(uid.encode(), digest_size=8).digest())
