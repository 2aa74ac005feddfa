"""CustomTask: rows read from a file, and the rows set aside to test on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from unisd_core.common.errors import UserError
from unisd_core.config.data import CustomConfig
from unisd_core.tasks.base import CustomRows
from unisd_core.tasks.custom.files import read_file, warn_of_columns
from unisd_core.tasks.custom.messages import with_reference
from unisd_core.tasks.data import Record
from unisd_core.tasks.row import Row
from unisd_core.tasks.splits import set_aside

_COLUMNS = (
    "prompt", "reference", "completion", "messages", "uid", "answer", "hint", "category", "choices",
    "answer_index",
)  # fmt: skip
"""What is read of a row, but for ``tests``, which is only near to too many other names."""


class CustomTask(CustomRows):
    """Rows of ``custom.train`` and ``custom.test``, read when first asked for."""

    name = "custom"
    metric_setting = "custom.metric"
    keep_setting = "custom.contradictions=keep"

    def __init__(self, settings: CustomConfig) -> None:
        super().__init__(settings.metric, settings.contradictions)
        self.max_completion_length = settings.max_completion_length
        self._settings = settings

    def rows(self, split: str) -> list[Row]:
        """Rows of "train" or "test" in file order, read once; see Task.rows."""
        self.check_split(split)
        if split not in self._rows:
            if self._settings.test is None:
                self._rows = self._divided(self._read("train", self._settings.train))
            else:
                self._rows[split] = self._read(split, getattr(self._settings, split))
        return list(self._rows[split])

    def _divided(self, rows: Sequence[Row]) -> dict[str, list[Row]]:
        count = self._settings.test_rows
        if count >= len(rows):
            raise UserError(
                f"custom.test_rows: {count} rows cannot be set aside of the {len(rows)} in "
                f"{self._settings.train}; lower it or give custom.test"
            )
        train, test = set_aside(rows, count, "")
        if not test:
            raise UserError(
                f"custom.test_rows: every question in {self._settings.train} is asked by more than "
                f"{count} rows; raise it or give custom.test"
            )
        return {"train": train, "test": test}

    def _read(self, split: str, path: str | None) -> list[Row]:
        if path is None:
            raise UserError(f"custom.{split}: not set; give a .jsonl or .parquet file of rows")
        records = read_file(Path(path))
        warn_of_columns(Path(path), records, _COLUMNS)
        return self.checked(records)

    def row(self, record: Record) -> Row:
        """The row of one record, under a uid that begins with the name of the task."""
        row = super().row(with_reference(record))
        return dataclasses.replace(row, uid=f"{self.name}/{row.uid}")
