"""Sources of prompts: a file, a hub data set or a task; read as a stream or by row number.

Each reads no more than it is asked for (Parquet: a row group), and travels to other processes
without its rows.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unisd_core.common.errors import UserError, reason
from unisd_core.common.user_text import MARK
from unisd_core.config.run import Config
from unisd_core.tasks.base import Task
from unisd_core.tasks.custom.task import CustomTask
from unisd_core.tasks.data import HubSource, Record, check_columns, open_hub, parse_line
from unisd_core.tasks.registry import load_task
from unisd_core.tasks.row import Row

HUB = "hub:"
STRIDE = 256
"""Lines of JSONL between two known places; rows of Parquet made at a time."""


class PromptSource(ABC):
    """Rows in a fixed order. ``reference`` is "" in rows without a reference."""

    name: str

    def __init__(self, config: Config) -> None:
        self.config = config

    @cached_property
    def task(self) -> Task:
        """Shows a row as a solved example and reads answers."""
        config = self.config
        return load_task(config.task, config.data_dir, config.task_seed, config.custom)

    @abstractmethod
    def stream(self) -> Iterator[Row]:
        """Every row, one after the other. Raises UserError naming a row that is none."""

    @abstractmethod
    def read(self, start: int, stop: int) -> list[Row]:
        """Rows ``start`` to ``stop``; the source has been streamed once before."""

    def __getstate__(self) -> dict[str, Any]:
        """Without what can be read again."""
        again = ("task", "rows", "records")
        state = {key: value for key, value in vars(self).items() if key not in again}
        return state | ({"cached": None} if "cached" in state else {})


class TaskSource(PromptSource):
    """Training rows of a task of the project."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.name = f"task {config.task}"

    @cached_property
    def rows(self) -> list[Row]:
        """All of them: tasks are small."""
        if self.task.private:
            raise UserError(f"{self.name}: its authors ask that no row is written out")
        return self.task.rows("train")

    def stream(self) -> Iterator[Row]:
        return iter(self.rows)

    def read(self, start: int, stop: int) -> list[Row]:
        return self.rows[start:stop]


class RecordSource(PromptSource):
    """Records with the columns of custom rows, of which only the prompt is needed."""

    @cached_property
    def task(self) -> CustomTask:
        return CustomTask(self.config.custom)

    def row(self, record: Record) -> Row:
        """The row of ``record`` under its own uid or, without one, a digest of its texts."""
        settings = self.config.synthesis
        prompt = record.text(settings.prompt_column)
        if not record.optional_text_or_number(settings.reference_column):
            uid = record.optional_text_or_number("uid")
            return Row(prompt, "", uid=uid or hashlib.sha256(prompt.encode()).hexdigest()[:16])
        reference = record.fields[settings.reference_column]
        row = self.task.row(record.plus(prompt=prompt, reference=reference))
        return dataclasses.replace(row, uid=row.uid.removeprefix(f"{CustomTask.name}/"))


class JsonlSource(RecordSource):
    """A file with one JSON object a line, of any length."""

    def __init__(self, config: Config, path: Path) -> None:
        super().__init__(config)
        self.path, self.name = path, path.name
        self.places: list[tuple[int, int]] = []
        """Offset in bytes and number of the line of every STRIDE-th row."""

    def stream(self) -> Iterator[Row]:
        self.places = []
        for record, offset, number in self._records(0, 0, 0):
            if record.index % STRIDE == 0:
                self.places.append((offset, number))
            yield self.row(record)

    def read(self, start: int, stop: int) -> list[Row]:
        step = start // STRIDE
        rows = []
        for record, _, _ in self._records(*self.places[step], step * STRIDE):
            if record.index >= stop:
                break
            if record.index >= start:
                rows.append(self.row(record))
        return rows

    def _records(self, offset: int, number: int, index: int) -> Iterator[tuple[Record, int, int]]:
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                for line in file:
                    if line.removeprefix(MARK).strip():
                        place = f"{self.path}:{number + 1}"
                        yield parse_line(line, index, place), offset, number
                        index += 1
                    offset, number = offset + len(line), number + 1
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read ({error.strerror or error})") from None


class ParquetSource(RecordSource):
    """A Parquet file; one row group at a time is in memory."""

    _MORE = ("uid", "hint", "category", "answer", "answer_index", "choices", "tests")

    def __init__(self, config: Config, path: Path) -> None:
        super().__init__(config)
        self.path, self.name = path, path.name
        self.cached: tuple[int, pa.Table] | None = None

    def stream(self) -> Iterator[Row]:
        for group, first in enumerate(self._starts):
            for start in range(first, first + self._counts[group], STRIDE):
                yield from self.read(start, min(start + STRIDE, first + self._counts[group]))

    def read(self, start: int, stop: int) -> list[Row]:
        rows: list[Row] = []
        for group, first in enumerate(self._starts):
            begin, end = max(start, first), min(stop, first + self._counts[group])
            if begin < end:
                fields = self._group(group).slice(begin - first, end - begin).to_pylist()
                rows += [
                    self.row(Record(one, index, f"{self.path}:{index + 1}"))
                    for index, one in enumerate(fields, begin)
                ]
        return rows

    @cached_property
    def _counts(self) -> list[int]:
        with self._file() as file:
            return [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *itertools.accumulate(self._counts[:-1])]

    def _group(self, number: int) -> pa.Table:
        if self.cached is None or self.cached[0] != number:
            settings = self.config.synthesis
            wanted = {settings.prompt_column, settings.reference_column, *self._MORE}
            with self._file() as file:
                names = file.schema_arrow.names
                check_columns(str(self.path), names)
                columns = [name for name in names if name in wanted]
                self.cached = (number, file.read_row_group(number, columns))
        return self.cached[1]

    @contextmanager
    def _file(self) -> Iterator[pq.ParquetFile]:
        try:
            with pq.ParquetFile(self.path) as file:
                yield file
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{self.path}: cannot be read as Parquet ({reason(error)})") from None


class DatasetSource(RecordSource):
    """A split of a data set on the hub, which each node maps into memory."""

    def __init__(self, config: Config, address: str) -> None:
        super().__init__(config)
        self.name = address
        repository, _, rest = address.removeprefix(HUB).partition(":")
        configuration, _, split = rest.rpartition(":")
        if not repository or not split:
            raise UserError(f"--input {address}: write hub:OWNER/NAME:SPLIT or :CONFIG:SPLIT")
        self.hub, self.split = HubSource(repository, configuration or None), split

    @cached_property
    def records(self) -> Any:
        """The data set, not read into memory."""
        return open_hub(self.hub, self.split, f"--input {self.name}:", "give a file")

    def stream(self) -> Iterator[Row]:
        for index, fields in enumerate(self.records):
            yield self.row(Record(dict(fields), index, f"{self.name}:{index}"))

    def read(self, start: int, stop: int) -> list[Row]:
        return [
            self.row(Record(dict(self.records[index]), index, f"{self.name}:{index}"))
            for index in range(start, stop)
        ]


def open_source(given: str | None, config: Config) -> PromptSource:
    """What --input names; None: the training rows of config.task. Raises UserError where it is
    nothing that can be read."""
    if given is None:
        return TaskSource(config)
    if given.startswith(HUB):
        return DatasetSource(config, given)
    # Other processes have other working directories.
    path = Path(given).expanduser().resolve()
    kinds = {".jsonl": JsonlSource, ".parquet": ParquetSource}
    if path.suffix not in kinds:
        raise UserError(
            f"--input {given}: must be a .jsonl or .parquet file or hub:OWNER/NAME:SPLIT; "
            "leave it out for the rows of task=..."
        )
    if not path.is_file():
        raise UserError(f"--input {given}: no such file")
    return kinds[path.suffix](config, path)
