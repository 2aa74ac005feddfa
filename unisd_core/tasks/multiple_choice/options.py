"""Options of a question, in the forms in which data sets hold them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from unisd_core.common.errors import UserError
from unisd_core.tasks.data import Record, plain

_LETTERED = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Options(NamedTuple):
    """Texts in order and, where the row names the options itself, their labels."""

    texts: list[str]
    labels: list[str] | None


def read_options(record: Record, key: str = "choices") -> Options:
    """Field ``key``: a list of texts or numbers, a mapping ``{"A": ..., "B": ...}``, or labels and
    texts as ARC (``{"label": [...], "text": [...]}``) and OpenBookQA (a list of such pairs) have
    them. Raises UserError naming the row for anything else, or where two labels are equal."""
    value = record.fields.get(key)
    labels: Sequence[Any] | None = None
    texts: Sequence[Any] | None = None
    if isinstance(value, dict) and value.keys() == {"label", "text"}:
        labels, texts = value["label"], value["text"]
    elif isinstance(value, dict):
        labels, texts = _lettered(value)
    elif isinstance(value, list) and value and all(_is_pair(item) for item in value):
        labels, texts = [item["label"] for item in value], [item["text"] for item in value]
    elif isinstance(value, list):
        texts = value
    read = _texts(texts)
    names = None if labels is None else _texts(labels)
    broken = labels is not None and (names is None or len(set(names)) < len(names))
    if read is None or broken or (names is not None and len(names) != len(read)):
        raise UserError(
            f"{record.place}: field {key!r} must be a list of texts or, with labels, "
            f'{{"A": ..., "B": ...}} or {{"label": [...], "text": [...]}}, {record.found(key)}'
        )
    return Options(read, names)


def _lettered(value: dict[str, Any]) -> tuple[list[str], list[Any]] | tuple[None, None]:
    """Labels and texts of a mapping from the first letters; Parquet fills letters that only other
    rows have with nulls."""
    filled = {name: text for name, text in value.items() if text is not None}
    labels = sorted(filled)
    if not labels or "".join(labels).upper() != _LETTERED[: len(labels)]:
        return None, None
    return labels, [filled[name] for name in labels]


def _is_pair(item: object) -> bool:
    return isinstance(item, dict) and item.keys() == {"label", "text"}


def _texts(values: object) -> list[str] | None:
    """``values`` as texts, each number as its own; None where one of them is neither."""
    if not isinstance(values, list):
        return None
    texts = [plain(item) for item in values]
    return [str(x) for x in texts] if all(isinstance(x, str) for x in texts) else None
