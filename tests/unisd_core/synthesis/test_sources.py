"""Prompts from files, tasks and the hub: streamed, read by number, refused by name."""

from __future__ import annotations

import json
import pickle  # what Ray does with a source
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unisd_core.common.errors import UserError
from unisd_core.config.run import Config
from unisd_core.synthesis import sources
from unisd_core.synthesis.inventory import take_inventory
from unisd_core.synthesis.sources import PromptSource, open_source
from unisd_core.tasks.row import Row

ROWS = [
    {"uid": f"q{number}", "prompt": f"Add {number} and 1.", "reference": str(number + 1)}
    for number in range(23)
]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=4)
    else:
        # Blank lines, Windows line ends and separators inside of strings count as they should.
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        path.write_bytes(("\n\n".join(lines) + "\r\n\n").encode())
    return str(path)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_any_range_is_what_the_stream_gave(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "STRIDE", 3)
    rows = [*ROWS, {"uid": "last", "prompt": "Say \u2028 it.", "reference": "7"}]
    source = open_source(write(tmp_path / f"rows.{kind}", rows), Config())
    every = list(source.stream())
    assert [row.uid for row in every] == [row["uid"] for row in rows]
    elsewhere = pickle.loads(pickle.dumps(source))
    for start in range(len(rows)):
        for stop in range(start + 1, len(rows) + 1):
            assert elsewhere.read(start, stop) == every[start:stop]


def test_a_task_gives_its_training_rows_and_travels_without_them() -> None:
    source = open_source(None, Config(task="minitools"))
    every = list(source.stream())
    assert every == source.task.rows("train")
    assert len(pickle.dumps(source)) < 20_000
    assert pickle.loads(pickle.dumps(source)).read(5, 9) == every[5:9]


def test_columns_can_have_other_names(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", [{"question": "Why?", "solution": "So."}])
    names = {"prompt_column": "question", "reference_column": "solution"}
    (row,) = open_source(file, Config.model_validate({"synthesis": names})).stream()
    assert (row.prompt, row.reference) == ("Why?", "So.")


def test_a_hub_data_set_is_read_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(*arguments: Any, **options: Any) -> list[dict[str, str]]:
        asked.append((*arguments, options["split"]))
        return ROWS

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load))
    source = open_source("hub:owner/name:main:train", Config())
    assert [row.uid for row in source.read(3, 5)] == ["q3", "q4"]
    assert len(list(source.stream())) == len(ROWS)
    assert asked == [("owner/name", "main", "train")]


def complaint(source: PromptSource) -> str:
    with pytest.raises(UserError) as raised:
        take_inventory(source)
    return str(raised.value)


def test_a_source_that_cannot_be_used_is_refused_by_row(tmp_path: Path) -> None:
    def refused(*rows: dict[str, Any]) -> str:
        return complaint(open_source(write(tmp_path / "rows.jsonl", list(rows)), Config()))

    assert ("rows.jsonl:row 3, :row 4: other content under the uid of :row 1; 1 in all") in refused(
        ROWS[0], ROWS[1], {**ROWS[0], "hint": "x"}, {**ROWS[0], "reference": "2"}
    )
    other = {"prompt": ROWS[0]["prompt"], "reference": "7"}
    assert "row 2: other reference for the prompt of :row 1" in refused(ROWS[0], other)
    assert "row 2 has no reference and row 1 has one" in refused(ROWS[0], {"prompt": "Why?"})
    assert "rows.jsonl:3: field 'prompt' must be text" in refused(ROWS[0], {"reference": "7"})
    (tmp_path / "empty.jsonl").write_text("\n")
    assert "empty.jsonl: no prompts" in complaint(
        open_source(str(tmp_path / "empty.jsonl"), Config())
    )


def test_copies_are_sampled_once_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [*ROWS[:3], ROWS[1], {"prompt": "Same.", "reference": "1"}, ROWS[2]]
    path = write(tmp_path / "rows.jsonl", [*rows, rows[4]])
    inventory = take_inventory(open_source(path, Config()))
    (block,) = inventory.pending(inventory.digests[:0], 256)
    assert (inventory.prompts, block.rows.tolist()) == (4, [0, 1, 2, 4])
    assert "rows.jsonl: exact copies of rows are left out, 3 in all (first: row 4)" in (caplog.text)


def test_contradicting_references_may_be_kept(tmp_path: Path) -> None:
    rows = [{"prompt": "Say a number.", "reference": str(number)} for number in range(3)]
    path = write(tmp_path / "rows.jsonl", rows)
    keep = Config.model_validate({"custom": {"contradictions": "keep"}})
    assert take_inventory(open_source(path, keep)).prompts == 3


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 9))
def test_what_is_pending_and_what_is_done_are_all_rows_once(done: list[bool], size: int) -> None:
    class Numbers(PromptSource):
        name = "numbers"

        def stream(self) -> Any:
            return (Row(f"Add {number}.", "") for number in range(len(done)))

        def read(self, start: int, stop: int) -> Any:
            raise NotImplementedError

    inventory = take_inventory(Numbers(Config()))
    finished = inventory.digests[np.array(done)]
    blocks = inventory.pending(finished, size)
    rows = [row for block in blocks for row in block.rows]
    assert rows == [number for number, is_done in enumerate(done) if not is_done]
    assert inventory.missing(finished) == len(rows)
    for block in blocks:
        # The same rows belong together whatever is done.
        assert block.start % size == 0 and block.stop == min(block.start + size, len(done))
        assert all(block.start <= row < block.stop for row in block.rows)
