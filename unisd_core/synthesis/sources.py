"""Where prompts come from: a file, a hub data set or a task; read as a stream or by row number.

Each reads no more than it is asked for (Parquet: a row group), and travels to other processes
without its rows.
"""

from __future__ import annotations

import dataclasses
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unisd_core.config import Config
from unisd_core.errors import UserError, reason
from unisd_core.tasks import Row, Task, load_task
from unisd_core.tasks.data import HubSource, Record, open_hub, parse_line
from unisd_core.tasks.own_rows.task import OwnRowsTask

HUB = "hub:"
STRIDE = 256
"""Lines of JSONL between two known places."""


class PromptSource(ABC):
    """Rows in a fixed order. ``gold`` is "" in rows without a reference."""

    name: str

    def __init__(self, config: Config) -> None:
        self.config = config

    @cached_property
    def task(self) -> Task:
        """Shows a row as a solved example and reads answers."""
        config = self.config
        return load_task(config.task, config.data_dir, config.task_seed, config.own_rows)

    @abstractmethod
    def stream(self) -> Iterator[Row]:
        """Every row, one after the other. Raises UserError naming a row that is none."""

    @abstractmethod
    def read(self, start: int, stop: int) -> list[Row]:
        """Rows ``start`` to ``stop``; the source has been streamed once before."""

    def __getstate__(self) -> dict[str, Any]:
        """Without what can be read again."""
        again = ("task", "rows", "records", "cached")
        return {key: value for key, value in vars(self).items() if key not in again}


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
    """Records with the columns of rows of one's own, of which only the prompt is needed."""

    @cached_property
    def task(self) -> OwnRowsTask:
        return OwnRowsTask(self.config.own_rows)

    def row(self, record: Record) -> Row:
        """The row of ``record`` under its own uid or, without one, a digest of its texts."""
        settings = self.config.synthesis
        prompt = record.text(settings.prompt_column)
        reference = record.optional_text(settings.reference_column)
        if not reference.strip():
            uid = record.optional_text("uid") or hashlib.sha256(prompt.encode()).hexdigest()[:16]
            return Row(uid=uid, prompt=prompt, gold="", answer={}, retrieval_text=prompt)
        row = self.task.row(record.plus(prompt=prompt, reference=reference))
        return dataclasses.replace(row, uid=row.uid.removeprefix(f"{OwnRowsTask.name}/"))


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
                    if line.strip():
                        place = f"{self.path}:{number + 1}"
                        yield parse_line(line, index, place), offset, number
                        index += 1
                    offset, number = offset + len(line), number + 1
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read ({error.strerror or error})") from None


class ParquetSource(RecordSource):
    """A Parquet file; one row group at a time is in memory."""

    _MORE = ("uid", "hint", "category", "answer", "choices", "tests")

    def __init__(self, config: Config, path: Path) -> None:
        super().__init__(config)
        self.path, self.name = path, path.name
        self.cached: tuple[int, list[Record]] = (-1, [])

    def stream(self) -> Iterator[Row]:
        for group in range(len(self._starts)):
            yield from map(self.row, self._group(group))

    def read(self, start: int, stop: int) -> list[Row]:
        records: list[Record] = []
        for group, first in enumerate(self._starts):
            if first < stop and first + self._counts[group] > start:
                found = self._group(group)
                records += found[max(start - first, 0) : max(stop - first, 0)]
        return [self.row(record) for record in records]

    @cached_property
    def _counts(self) -> list[int]:
        with self._file() as file:
            return [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]

    @cached_property
    def _starts(self) -> list[int]:
        return [sum(self._counts[:n]) for n in range(len(self._counts))]

    def _group(self, number: int) -> list[Record]:
        known, records = getattr(self, "cached", (-1, []))
        if known != number:
            settings = self.config.synthesis
            wanted = {settings.prompt_column, settings.reference_column, *self._MORE}
            try:
                with self._file() as file:
                    columns = [name for name in file.schema_arrow.names if name in wanted]
                    rows = file.read_row_group(number, columns).to_pylist()
            except (OSError, pa.ArrowException, ValueError, OverflowError) as error:
                raise UserError(
                    f"{self.path}: cannot be read as Parquet ({reason(error)})"
                ) from None
            first = self._starts[number]
            records = [
                Record(fields, first + index, f"{self.path}:{first + index + 1}")
                for index, fields in enumerate(rows)
            ]
            self.cached = (number, records)
        return records

    def _file(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self.path)
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
