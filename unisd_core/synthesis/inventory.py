"""Inventory of a synthesis: all prompts, and those still to be done, as numbers only."""

from __future__ import annotations

import hashlib
import logging
from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unisd_core.common.errors import UserError
from unisd_core.synthesis.sources import PromptSource
from unisd_core.tasks.data import named_groups

logger = logging.getLogger(__name__)

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
    """Every prompt of a source: ``digests`` of the uids in order, which rows are copies of earlier
    ones, and whether rows have references."""

    digests: Digests
    copies: NDArray[np.bool_]
    references: bool

    @property
    def prompts(self) -> int:
        """Rows that are no copies."""
        return len(self.digests) - int(self.copies.sum())

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
        return ~np.isin(self.digests, done) & ~self.copies


def take_inventory(source: PromptSource) -> Inventory:
    """Read ``source`` once, which also checks every row. The number of copies is logged.

    Raises UserError when it is empty, when rows have the same uid and differ or, unless
    custom.contradictions=keep, the same prompt and differ, and when some rows have a reference and
    others none.
    """
    uids, prompts, contents = array("Q"), array("Q"), array("Q")
    bare: int | None = None
    referenced: int | None = None
    for number, row in enumerate(source.stream()):
        uids.append(uid_digest(row.uid))
        prompts.append(uid_digest(row.prompt))
        contents.append(uid_digest("\0".join([row.prompt, row.reference, row.answer, row.hint])))
        if row.reference:
            referenced = number if referenced is None else referenced
        elif bare is None:
            bare = number
    if not uids:
        raise UserError(f"{source.name}: no prompts")
    if bare is not None and referenced is not None:
        raise UserError(
            f"{source.name}: row {bare + 1} has no reference and row {referenced + 1} has one; "
            "give one to every row or to none"
        )
    uid_B, prompt_B, content_B = (np.frombuffer(x, np.uint64) for x in (uids, prompts, contents))
    _refuse(source, _clashes(uid_B, content_B), "other content under the uid of", "give each a uid")
    if source.config.custom.contradictions == "refuse":
        _refuse(
            source,
            _clashes(prompt_B, content_B),
            "other reference for the prompt of",
            "correct them or set custom.contradictions=keep",
        )
    copies = np.ones(len(uid_B), dtype=bool)
    copies[np.unique(uid_B, return_index=True)[1]] = False
    if copies.any():
        logger.warning(
            "%s: exact copies of rows are left out, %d in all (first: row %d)",
            source.name, copies.sum(), np.flatnonzero(copies)[0] + 1,
        )  # fmt: skip
    return Inventory(uid_B, copies, bare is None)


def _clashes(keys_B: Digests, content_B: Digests) -> list[list[int]]:
    """Rows of one key whose content is not the same, group by group in order of the first."""
    order_B = np.argsort(keys_B, kind="stable")
    starts = np.flatnonzero(np.diff(keys_B[order_B])) + 1
    groups = np.split(order_B, starts) if len(starts) + 1 < len(keys_B) else []
    differ = [group.tolist() for group in groups if len(set(content_B[group].tolist())) > 1]
    return sorted(differ)


def _refuse(source: PromptSource, clashes: list[list[int]], how: str, remedy: str) -> None:
    if clashes:
        groups = [([f"{source.name}:row {row + 1}" for row in rows], how) for rows in clashes]
        raise UserError(f"{named_groups(groups)}; {len(groups)} in all: {remedy}")


def uid_digest(uid: str) -> int:
    """64 bits, which two of ten million uids share with a chance of three in a million."""
    return int.from_bytes(hashlib.blake2b(uid.encode(), digest_size=8).digest())
