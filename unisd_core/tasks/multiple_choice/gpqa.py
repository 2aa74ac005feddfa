"""GPQA: expert questions, three nested sets, only to be tested on.

Its authors publish the rows in an archive under a password, so that they do not end up in training
data. They are read in memory and never unpacked.
"""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from pathlib import Path

from unisd_core.common.errors import UserError
from unisd_core.common.user_text import decoded
from unisd_core.tasks.data import HubSource, Record, check_columns, read_hub
from unisd_core.tasks.multiple_choice.data import ChoiceDataset

_PASSWORD = b"deserted-untie-orchid"
_OPTIONS = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")

_UNREADABLE = (
    OSError, EOFError, ValueError, RuntimeError, KeyError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What zipfile raises: RuntimeError is a wrong password (or a method that it does not know),
KeyError a missing member."""


def _from_archive(data_dir: str, split: str) -> list[Record]:
    path = Path(data_dir) / "gpqa" / "dataset.zip"
    member = f"dataset/gpqa_{split}.csv"
    try:
        with zipfile.ZipFile(path) as archive:
            text = decoded(archive.read(member, pwd=_PASSWORD))
    except FileNotFoundError as error:
        raise UserError(
            f"data_dir: {data_dir} has no gpqa/dataset.zip; put the authors' archive there"
        ) from error
    except _UNREADABLE as error:
        raise UserError(
            f"{path}: {member} cannot be read; put the authors' archive there"
        ) from error
    try:
        table = csv.DictReader(io.StringIO(text, newline=""))
        rows, names = list(table), table.fieldnames or []
    except csv.Error as error:
        raise UserError(f"{path}: {member} is no table ({error})") from error
    check_columns(f"{path}: {member}", names)
    if not rows:
        raise UserError(f"{path}: {member} has no rows; put the authors' archive there")
    return [
        _record(Record(dict(fields), index, f"{path}/{member}, row {index + 1}"))
        for index, fields in enumerate(rows)
    ]


def _from_hub(split: str) -> list[Record]:
    source = HubSource("Idavidrein/gpqa", f"gpqa_{split}")
    return [_record(record) for record in read_hub(source, "train")]


def _record(record: Record) -> Record:
    return record.plus(
        id=record.text("Record ID"),
        question=record.text("Question"),
        choices=[record.text(name) for name in _OPTIONS],
        answer_index=0,
        rationale=record.optional_text("Explanation"),
        subject=record.optional_text("High-level domain"),
    )


GPQA = ChoiceDataset(
    name="gpqa",
    test_splits=("main", "diamond", "extended"),
    max_completion_length=320,
    explains=True,
    from_hub=_from_hub,
    from_folder=_from_archive,
    trains=False,
    private=True,
)
