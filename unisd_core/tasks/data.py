"""Sources of rows: JSONL files in a folder, or a dataset on the hub.

Both give the same records, plain dicts keyed by field name, each with the place it was
read from, so that every complaint about a row can name it.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Integral
from pathlib import Path
from typing import Any

from unisd_core.common.errors import UserError, reason, shorten
from unisd_core.common.user_text import MARK, WrittenFloat, decoded, parse_json


@dataclass(frozen=True)
class Record:
    """One raw row: its fields, its index in the split and where it stands (``file:line``)."""

    fields: dict[str, Any]
    index: int
    place: str

    def text(self, key: str) -> str:
        """Field ``key`` as a string that is not blank; UserError otherwise."""
        return self._text(key, self.fields.get(key), "text")

    def text_or_number(self, key: str) -> str:
        """``text``, also of a number that can be written in one way only; see ``number_text``."""
        return self._text(key, plain(self.fields.get(key)), "text")

    def optional_text(self, key: str) -> str:
        """Field ``key`` as a string, "" when absent, null or blank; UserError for another type."""
        return self._optional(key, self.fields.get(key))

    def optional_text_or_number(self, key: str) -> str:
        """``optional_text``, also of a number; see ``number_text``."""
        return self._optional(key, plain(self.fields.get(key)))

    def _optional(self, key: str, value: object) -> str:
        blank = value is None or (isinstance(value, str) and not value.strip())
        return "" if blank else self._text(key, value, "text or null")

    def _text(self, key: str, value: object, wanted: str) -> str:
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"{self.place}: field {key!r} must be {wanted}, {self.found(key)}")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise UserError(
                f"{self.place}: field {key!r} holds half of a surrogate pair, which is no "
                "character; remove it"
            ) from None
        return value

    def texts(self, key: str) -> list[str]:
        """Field ``key`` as a list of strings; UserError otherwise."""
        value = self.fields.get(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise UserError(
                f"{self.place}: field {key!r} must be a list of texts, {self.found(key)}"
            )
        return value

    def integer(self, key: str, low: int, high: int) -> int:
        """Field ``key`` as an integer in [low, high], which may come as a whole float: pandas makes
        floats of integers with gaps. UserError otherwise."""
        value = self.fields.get(key)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise UserError(
                f"{self.place}: field {key!r} must be an integer from {low} to {high}, "
                f"{self.found(key)}"
            )
        return value

    def optional_integer(self, key: str, low: int, high: int) -> int | None:
        """Field ``key`` as an integer in [low, high] or None when absent or null."""
        return None if self.fields.get(key) is None else self.integer(key, low, high)

    def found(self, key: str) -> str:
        """What field ``key`` holds, or which fields there are, for a message."""
        if key in self.fields:
            return f"found {shorten(repr(self.fields[key]), 40)}"
        names = ", ".join(repr(shorten(str(name), 30)) for name in [*self.fields][:12])
        return f"but it is missing; the row has {names or 'no field'}"

    def plus(self, **fields: object) -> Record:
        """The record with ``fields`` added or replaced."""
        return dataclasses.replace(self, fields={**self.fields, **fields})


def number_text(value: object) -> str | None:
    """The one way to write ``value``; None where it is no number or there are several.

    An integer is its digits and a JSON number is as it was written. A binary float of Parquet or
    Python that is whole may have been 42 or 42.0, and a truth value true or True: None.
    """
    match value:
        case bool():
            return None
        case Integral() if abs(int(value)) < 10**300:
            return str(value)
        case WrittenFloat() if math.isfinite(value):
            return value.written
        case float() if math.isfinite(value) and not value.is_integer():
            return repr(float(value))
        case Decimal() if value.is_finite():
            return format(value, "f")
    return None


def plain(value: object) -> object:
    """A number as its text, and anything else as it is; see ``number_text``."""
    return value if (text := number_text(value)) is None else text


def check_unique(records: Sequence[Record], ids: Sequence[str]) -> None:
    """Raise UserError naming the rows where records have the same id, each given as it is to be
    shown (``id 'q7'``)."""
    groups: dict[str, list[str]] = {}
    for record, name in zip(records, ids, strict=True):
        groups.setdefault(name, []).append(record.place)
    clashes = [
        (places, f"{shorten(name, 80)} is already used at")
        for name, places in groups.items()
        if len(places) > 1
    ]
    if clashes:
        raise UserError(f"{named_groups(clashes)}; make ids unique")


def check_columns(table: str, names: Sequence[str]) -> None:
    """Raise UserError for two columns of one name, of which a row would keep the last."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{table}: has two columns {shorten(twice, 40)!r}; rename one")


GROUPS_NAMED, PLACES_NAMED = 10, 5


def named_groups(groups: Sequence[tuple[Sequence[str], str]]) -> str:
    """Rows that clash, as one line of bounded length: the places of each group, and how its later
    ones stand to the first (``rows.jsonl:2, :7: id 'q7' is already used at :1``). The file that
    they share is named once."""
    named = [f"{_places(later)}: {how} {first}" for (first, *later), how in groups[:GROUPS_NAMED]]
    more = len(groups) - len(named)
    line = "; ".join(named) + (f"; and {more} more" if more else "")
    start = groups[0][0][1]
    file = start.rpartition(":")[0]
    return start + line.removeprefix(start).replace(f"{file}:", ":") if file else line


def _places(places: Sequence[str]) -> str:
    more = len(places) - PLACES_NAMED
    return ", ".join(places[:PLACES_NAMED]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True)
class HubSource:
    """A dataset on the hub. Rows whose ``image_column`` is filled are not text-only and are
    left out; the column itself is never decoded."""

    repository: str
    configuration: str | None = None
    image_column: str | None = None


def read_jsonl(path: Path) -> list[Record]:
    """Every line of a UTF-8 JSONL file as a record; blank lines are skipped.

    Raises UserError naming ``file:line`` for text that is no JSON object, and naming the file
    when it cannot be read or holds no row.
    """
    records: list[Record] = []
    try:
        # Split on \n only: str.splitlines would also cut at separators legal inside JSON strings.
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    for number, line in enumerate(lines, start=1):
        if not line.removeprefix(MARK).strip():
            continue
        records.append(parse_line(line, len(records), f"{path}:{number}"))
    if not records:
        raise UserError(f"{path}: no rows; expected one JSON object a line")
    return records


def parse_line(line: bytes, index: int, place: str) -> Record:
    """One line of JSONL; UserError naming ``place`` where it is no JSON object in UTF-8."""
    if b"\0" in line:
        raise UserError(f"{place}: holds NUL bytes, as UTF-16 does; save the file as UTF-8")
    try:
        text = decoded(line)
    except ValueError as error:
        raise UserError(f"{place}: {error}") from None
    try:
        fields = parse_json(text)
        if b"\\u" in line:
            # Half of a surrogate pair is legal JSON, but neither a tokenizer nor Arrow take it.
            json.dumps(fields, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: malformed JSON ({error})") from error
    if not isinstance(fields, dict):
        raise UserError(f"{place}: expected a JSON object, found {type(fields).__name__}")
    return Record(fields, index, place)


def read_folder(data_dir: str, task: str, split: str) -> list[Record]:
    """Records of ``<data_dir>/<task>/<split>.jsonl``; UserError naming data_dir when absent."""
    root = Path(data_dir)
    if not root.is_dir():
        raise UserError(f"data_dir: {data_dir} is not a folder; give one that holds {task}/*.jsonl")
    path = root / task / f"{split}.jsonl"
    if not path.is_file():
        raise UserError(f"data_dir: {data_dir} has no {task}/{split}.jsonl; add it")
    return read_jsonl(path)


def read_hub(source: HubSource, split: str) -> list[Record]:
    """Records of one split of a hub dataset; ``index`` is the row in the published split.

    Raises UserError when the ``datasets`` package is missing or the hub gives no data.
    """
    place = f"{source.repository}/{split}"
    dataset = open_hub(source, split, "data_dir: not set, and", "set data_dir")
    text_only = [True] * len(dataset)
    if source.image_column is not None:
        text_only = dataset.data.column(source.image_column).is_null().to_pylist()
        dataset = dataset.remove_columns([source.image_column])
    records = [
        Record(dict(fields), index, f"{place}:{index}")
        for index, (fields, keep) in enumerate(zip(dataset, text_only, strict=True))
        if keep
    ]
    if not records:
        raise UserError(f"{place}: no text-only rows on the hub; choose another split")
    return records


def open_hub(source: HubSource, split: str, why: str, remedy: str) -> Any:
    """One split of a hub dataset, mapped into memory, not read.

    Raises UserError when the ``datasets`` package is missing or the hub gives no data: ``why`` the
    hub is read opens the message and ``remedy``, what else can be done, ends it.
    """
    try:
        datasets = importlib.import_module("datasets")
    except ImportError as error:
        raise UserError(
            f"{why} reading the hub needs the datasets package; "
            f"install it (pip install datasets) or {remedy}"
        ) from error
    try:
        return datasets.load_dataset(source.repository, source.configuration, split=split)
    # The hub client fails with many unrelated types (its own, httpx, OSError, ValueError); what
    # the user can do is the same for each.
    except Exception as error:
        raise UserError(
            f"{why} {source.repository}/{split} could not be read from the hub ({reason(error)}); "
            f"check the connection or {remedy}"
        ) from error
