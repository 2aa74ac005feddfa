"""The rows that were kept as training data: what TRL, ``datasets`` and task=custom read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unisd_core.config.data import SynthesisConfig
from unisd_core.synthesis.output import OutputFolder
from unisd_core.synthesis.shard import SHARD

_TEXTS = {"messages": ["messages"], "prompt_completion": ["prompt", "completion"]}


def export_rows(
    folder: OutputFolder, shards: Iterable[str], settings: SynthesisConfig
) -> str | None:
    """Write ``train.jsonl`` or ``train.parquet`` from ``shards``, one after the other; returns its
    name, None where nothing is to be exported. ``uid`` is the prompt's and the sample's number."""
    if settings.export == "off":
        return None
    columns = _TEXTS[settings.export]
    name = f"train.{settings.export_format}"
    tables = _tables(folder, shards, columns)
    with folder.writing(name) as file:
        if settings.export_format == "jsonl":
            for table in tables:
                for row in table.to_pylist():
                    file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
        else:
            schema = pa.schema([pa.field("uid", pa.string()), *map(SHARD.field, columns)])
            with pq.ParquetWriter(file, schema, compression="zstd") as writer:
                for table in tables:
                    writer.write_table(table.cast(schema))
    return name


def _tables(folder: OutputFolder, shards: Iterable[str], columns: list[str]) -> Iterator[Any]:
    for name in shards:
        with folder.open(name) as file:
            table = pq.read_table(file, columns=["uid", "sample", *columns])
        keys = zip(table["uid"].to_pylist(), table["sample"].to_pylist(), strict=True)
        uids = pa.array([f"{uid}/{sample}" for uid, sample in keys], pa.string())
        yield table.select(columns).add_column(0, "uid", uids)
