"""Row digests: whether rows are still those of an earlier start, and the first that is not.

Eight bytes stand for a row, two for each part of it, so that a million rows take 8 MB and the part
that changed can be named without the rows of before. One digest over everything decides whether
anything changed at all; the eight bytes only find the place.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unisd_core.tasks.row import Row

PARTS: Mapping[str, Callable[[Row], Any]] = {
    "uid": lambda row: row.uid,
    "prompt": lambda row: (row.prompt, row.retrieval_text, row.question),
    "reference": lambda row: (row.reference, row.hint),
    "answer": lambda row: (row.answer, row.choices, row.tests, row.details, row.category),
}
"""Parts of a row as messages name them."""

Digests = NDArray[np.uint16]
"""(rows, parts)."""


class RowDigests(NamedTuple):
    """Digests of rows in their order."""

    parts_NP: Digests
    whole: str
    """SHA-256 over all parts of all rows."""


def digest_rows(rows: Iterable[Row]) -> RowDigests:
    """Digests of ``rows``, which are read once. Values in ``details`` that are neither text,
    numbers, containers nor data classes count by their type alone."""
    whole = hashlib.sha256()
    short = bytearray()
    for row in rows:
        for part in PARTS.values():
            digest = hashlib.sha256(_encode(part(row)).encode()).digest()
            whole.update(digest)
            short += digest[:2]
    parts_NP = np.frombuffer(bytes(short), dtype="<u2").reshape(-1, len(PARTS))
    return RowDigests(parts_NP, whole.hexdigest())


def first_difference(
    before_NP: Digests, now_NP: Digests, rows: Sequence[Row], place: Callable[[Row], str]
) -> str:
    """Names the first place at which ``rows``, whose digests are ``now_NP``, differ from those of
    ``before_NP``, and how; for rows of which it is known that they do. ``place`` names a row."""
    shared = min(len(before_NP), len(now_NP))
    changed_N = (before_NP[:shared] != now_NP[:shared]).any(axis=1)
    first = int(changed_N.argmax()) if changed_N.any() else shared
    was, now = before_NP[first:], now_NP[first:]
    if not len(was) and not len(now):
        return "a row was changed"
    if len(now) and _holds(was[1:], now[0]) and not _holds(now, was[0]):
        return f"a row before row {first + 1} ({place(rows[first])}) was removed"
    if not len(now):
        gone = "1 row was" if len(was) == 1 else f"{len(was)} rows were"
        return f"{gone} removed at the end, after row {first}"
    named = f"row {first + 1} ({place(rows[first])})"
    if not len(was):
        return f"{named} was added"
    if _holds(now[1:], was[0]):
        return f"{named} was {'moved' if _holds(was[1:], now[0]) else 'added'}"
    parts = [name for name, same in zip(PARTS, was[0] == now[0], strict=True) if not same]
    return f"{named} has another {' and '.join(parts)}"


def _holds(digests_NP: Digests, wanted_P: NDArray[np.uint16]) -> bool:
    return bool((digests_NP == wanted_P).all(axis=1).any())


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, AbstractSet):
        return sorted(value, key=repr)
    if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, bytes):
        return list(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return repr(value) if isinstance(value, (bytes, np.generic)) else type(value).__name__


_encode = json.JSONEncoder(sort_keys=True, default=_plain).encode
"""Equal texts for equal values, whatever the process and the order of keys."""
