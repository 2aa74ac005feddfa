import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from unisd_core.common.errors import UserError
from unisd_core.tasks.data import HubSource, Record, read_folder, read_hub, read_jsonl


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_records_keep_order_text_and_line_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"t": "one\u2028two"}\n\n{"t": "th\u00e9"}\r\n')
    first, second = read_jsonl(path)
    assert first.text("t") == "one\u2028two"
    assert (second.text("t"), second.index, second.place) == ("th\u00e9", 1, f"{path}:3")


@pytest.mark.parametrize(
    "line", ["{", '{"a": 1} extra', "[1]", "null", "[" * 100_000, b"\xff{}"], ids=range(6)
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str | bytes) -> None:
    raw = line.encode() if isinstance(line, str) else line
    path = write(tmp_path / "a.jsonl", b'{"ok": 1}\n' + raw + b"\n")
    with pytest.raises(UserError, match=r"a\.jsonl:2: ") as caught:
        read_jsonl(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: r.text("gone"), "'gone' must be text, but it is missing"),
        (lambda r: r.text("n"), "'n' must be text, found 3"),
        (lambda r: r.text("blank"), "'blank' must be text"),
        (lambda r: r.optional_text("n"), "'n' must be text or null"),
        (lambda r: r.texts("mixed"), "'mixed' must be a list of texts"),
        (lambda r: r.integer("yes", 0, 9), "'yes' must be an integer from 0 to 9, found True"),
        (lambda r: r.integer("n", 0, 2), "from 0 to 2, found 3"),
        (lambda r: r.integer("blank", 0, 2), "found '  '"),
    ],
)
def test_a_wrong_field_names_place_and_key(call: Any, message: str) -> None:
    record = Record({"n": 3, "yes": True, "mixed": ["a", 1], "blank": "  "}, 0, "f.jsonl:7")
    with pytest.raises(UserError, match="f.jsonl:7: field ") as caught:
        call(record)
    assert message in str(caught.value)


def test_absent_optional_fields() -> None:
    record = Record({"null": None}, 0, "f:1")
    assert record.optional_text("null") == record.optional_text("gone") == ""
    assert record.optional_integer("null", 0, 1) is None


def test_missing_folder_and_file_name_data_dir(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="data_dir: .*nowhere is not a folder"):
        read_folder(str(tmp_path / "nowhere"), "cos_e", "train")
    with pytest.raises(UserError, match=r"data_dir: .* has no cos_e/train\.jsonl"):
        read_folder(str(tmp_path), "cos_e", "train")


def test_an_empty_split_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "cos_e" / "train.jsonl", "\n\n")
    with pytest.raises(UserError, match=r"train\.jsonl: no rows"):
        read_folder(str(tmp_path), "cos_e", "train")


class FakeDataset:
    """The few members of a hub dataset the reader relies on."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows
        self.data = SimpleNamespace(column=self._column)

    def _column(self, name: str) -> Any:
        nulls = [row[name] is None for row in self._rows]
        return SimpleNamespace(is_null=lambda: SimpleNamespace(to_pylist=lambda: nulls))

    def remove_columns(self, names: list[str]) -> "FakeDataset":
        return FakeDataset([{k: v for k, v in r.items() if k not in names} for r in self._rows])

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Any:
        return iter(self._rows)


def test_hub_rows_with_an_image_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"q": "a", "image": b"png"}, {"q": "b", "image": None}]
    asked = []

    def load_dataset(*names: Any, split: str) -> FakeDataset:
        asked.append((*names, split))
        return FakeDataset(rows)

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    (record,) = read_hub(HubSource("owner/set", "main", image_column="image"), "test")
    assert asked == [("owner/set", "main", "test")]
    assert (record.fields, record.index, record.place) == ({"q": "b"}, 1, "owner/set/test:1")


def test_missing_package_and_unreachable_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match="pip install datasets"):
        read_hub(HubSource("owner/set"), "test")

    def refuse(*names: Any, split: str) -> None:
        raise ConnectionError("no route\nand more")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=refuse))
    with pytest.raises(UserError, match=r"owner/set/test .*no route\); check the connection"):
        read_hub(HubSource("owner/set"), "test")
