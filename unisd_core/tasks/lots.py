"""Which rows are set aside, decided by their uids alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from unisd_core.tasks.base import Row


def set_aside(rows: Sequence[Row], count: int, purpose: str) -> tuple[list[Row], list[Row]]:
    """``rows`` without ``count`` of them, and these, each part in its order.

    The same rows whatever their order, and nearly the same when some are added; other ones for
    another ``purpose``.
    """

    def lot(row: Row) -> str:
        return hashlib.sha256(f"{purpose}{row.uid}".encode("utf-8", "surrogatepass")).hexdigest()

    aside = {row.uid for row in sorted(rows, key=lot)[:count]}
    return [row for row in rows if row.uid not in aside], [row for row in rows if row.uid in aside]
