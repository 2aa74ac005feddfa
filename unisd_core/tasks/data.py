"""Sources of rows: JSONL files in a folder, or a dataset on the hub.

Both give the same records, plain dicts keyed by field name, each with the place it was
read from, so that every complaint about a row can name it.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unisd_core.common.errors import UserError, reason, shorten


@dataclass(frozen=True)
class Record:
    """One raw row: its fields, its index in the split and where it stands (``file:line``)."""

    fields: dict[str, Any]
    index: int
    place: str

    def text(self, key: str) -> str:
        """Field ``key`` as a string that is not blank; UserError otherwise."""
        value = self.fields.get(key)
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"{self.place}: field {key!r} must be text, {_found(self.fields, key)}")
        return value

    def optional_text(self, key: str) -> str:
        """Field ``key`` as a string, "" when absent or null; UserError for another type."""
        value = self.fields.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise UserError(
                f"{self.place}: field {key!r} must be text or null, {_found(self.fields, key)}"
            )
        return value

    def texts(self, key: str) -> list[str]:
        """Field ``key`` as a list of strings; UserError otherwise."""
        value = self.fields.get(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise UserError(
                f"{self.place}: field {key!r} must be a list of texts, {_found(self.fields, key)}"
            )
        return value

    def integer(self, key: str, low: int, high: int) -> int:
        """Field ``key`` as an integer in [low, high]; UserError otherwise."""
        value = self.fields.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise UserError(
                f"{self.place}: field {key!r} must be an integer from {low} to {high}, "
                f"{_found(self.fields, key)}"
            )
        return value

    def optional_integer(self, key: str, low: int, high: int) -> int | None:
        """Field ``key`` as an integer in [low, high] or None when absent or null."""
        return None if self.fields.get(key) is None else self.integer(key, low, high)

    def plus(self, **fields: object) -> Record:
        """The record with ``fields`` added or replaced."""
        return dataclasses.replace(self, fields={**self.fields, **fields})


def _found(fields: dict[str, Any], key: str) -> str:
    if key not in fields:
        return "but it is missing"
    return f"found {shorten(repr(fields[key]), 40)}"


def check_unique(records: Sequence[Record], ids: Sequence[str]) -> None:
    """Raise UserError naming both rows where two records have the same id, each given as it is to
    be shown (``id 'q7'``)."""
    places: dict[str, str] = {}
    for record, name in zip(records, ids, strict=True):
        if name in places:
            raise UserError(
                f"{record.place}: {name} is already used at {places[name]}; make ids unique"
            )
        places[name] = record.place


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
        if not line.strip():
            continue
        records.append(parse_line(line, len(records), f"{path}:{number}"))
    if not records:
        raise UserError(f"{path}: no rows; expected one JSON object a line")
    return records


def parse_line(line: bytes, index: int, place: str) -> Record:
    """One line of JSONL; UserError naming ``place`` where it is no JSON object in UTF-8."""
    try:
        fields = json.loads(line.decode("utf-8"))
        if b"\\u" in line:
            # Half of a surrogate pair is legal JSON, but neither a tokenizer nor Arrow take it.
            json.dumps(fields, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{place}: not UTF-8 ({error.reason})") from error
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
