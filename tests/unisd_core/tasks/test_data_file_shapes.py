"""Files of published sets as other programs write them: read alike, or one line names the place."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unisd_core.tasks.test_data_row_shapes import SETS
from tests.unisd_core.tasks.toolalpaca.folder import write_folder
from unisd_core.common.errors import UserError
from unisd_core.tasks.registry import load_task
from unisd_core.tasks.row import Row

Shape = Callable[[dict[str, Any]], bytes]
"""A file that holds one row."""


def line(row: dict[str, Any], **options: Any) -> bytes:
    return json.dumps(row, **options).encode()


OTHER = (
    *("text", "", "\0", 1, 0.5, float("nan"), 10**30),
    *(True, None, [], [[1, None]], {}, {"a": {"b": []}}),
)
"""Values of a column that nothing reads."""

SAME: dict[str, Shape] = {
    "as written": line,
    "a newline at the end": lambda row: line(row) + b"\n",
    "blank lines": lambda row: b"\n\n" + line(row) + b"\n \n\t\n",
    "Windows line ends": lambda row: line(row) + b"\r\n\r\n",
    "a byte-order mark": lambda row: codecs.BOM_UTF8 + line(row) + b"\n",
    "a byte-order mark and Windows line ends": lambda row: codecs.BOM_UTF8 + line(row) + b"\r\n",
    "blanks around it": lambda row: b"  " + line(row) + b" \t",
    "characters as they are": lambda row: line(row, ensure_ascii=False),
    "no blanks": lambda row: line(row, separators=(",", ":")),
    "many blanks": lambda row: line(row, separators=(" , ", " : ")),
    "keys in another order": lambda row: line(dict(reversed(list(row.items())))),
    "keys in order": lambda row: line(row, sort_keys=True),
    **{
        f"another column: {json.dumps(value)}": lambda row, value=value: line(
            row | {"extra": value}
        )
        for value in OTHER
    },
}
BROKEN: dict[str, tuple[Shape, str]] = {
    "cut": (lambda row: line(row)[:-5], "malformed JSON"),
    "without its end": (lambda row: line(row)[:-1], "malformed JSON"),
    "two rows in a line": (lambda row: line(row) * 2, "malformed JSON"),
    "a comma between rows": (lambda row: line(row) + b",", "malformed JSON"),
    "a comma at the end": (lambda row: line(row)[:-1] + b",}", "malformed JSON"),
    "single quotes": (lambda row: line(row).replace(b'"', b"'"), "malformed JSON"),
    "a comment": (lambda row: b"# rows\n" + line(row), "malformed JSON"),
    "an array of rows": (lambda row: b"[" + line(row) + b"]", "expected a JSON object"),
    "an array over lines": (lambda row: b"[\n" + line(row) + b"\n]", "malformed JSON"),
    "indented": (lambda row: line(row, indent=2), "malformed JSON"),
    "a text": (lambda row: json.dumps(json.dumps(row)).encode(), "expected a JSON object"),
    "null": (lambda row: b"null", "expected a JSON object"),
    "a number": (lambda row: b"17", "expected a JSON object"),
    "a key twice": (lambda row: line(row)[:-1] + b', "x": 1, "x": 2}', "'x' appears twice"),
    "a key twice inside": (
        lambda row: line(row)[:-1] + b', "x": {"y": 1, "y": 2}}', "'y' appears twice",
    ),
    "Latin-1": (lambda row: line(row)[:-1] + b', "x": "\xe9"}', "UTF-8"),
    "UTF-16": (lambda row: line(row).decode().encode("utf-16"), "UTF-16"),
    "a NUL": (lambda row: line(row)[:-1] + b', "x": "\0"}', "NUL"),
    "a control character": (lambda row: line(row)[:-1] + b', "x": "\x01"}', "malformed JSON"),
    "half a surrogate pair": (lambda row: line(row)[:-1] + b', "x": "\\ud800"}', "malformed JSON"),
    "a million brackets": (lambda row: b"[" * 1_000_000, "malformed JSON"),
    "CSV": (lambda row: ",".join(row).encode() + b"\na,b\n", "malformed JSON"),
    "nothing": (lambda row: b"", "no rows"),
    "blank lines alone": (lambda row: b"\n \n\r\n", "no rows"),
}  # fmt: skip


def read(root: Path, name: str, content: bytes) -> list[Row]:
    split, file, _ = SETS[name]
    if name == "toolalpaca":
        write_folder(root)
    (root / name).mkdir(exist_ok=True)
    (root / name / f"{file}.jsonl").write_bytes(content)
    return load_task(name, str(root), 0).rows(split)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("shape", SAME)
def test_a_row_is_the_same_however_it_is_written(tmp_path: Path, name: str, shape: str) -> None:
    row = dict(SETS[name][2])
    (tmp_path / "other").mkdir()
    plain = read(tmp_path / "other", name, line(row))
    assert read(tmp_path, name, SAME[shape](row)) == plain and len(plain) == 1


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("shape", BROKEN)
def test_a_file_that_is_broken_is_one_line(tmp_path: Path, name: str, shape: str) -> None:
    make, problem = BROKEN[shape]
    with pytest.raises(UserError) as caught:
        read(tmp_path, name, make(dict(SETS[name][2])))
    message = str(caught.value)
    assert f"{SETS[name][1]}.jsonl" in message and problem in message and "\n" not in message
