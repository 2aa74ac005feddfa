import csv
import io
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from unisd_core.common.errors import UserError
from unisd_core.tasks.registry import load_task

INVENTED = {
    "Record ID": "rec1",
    "Question": "Which planet is largest?\n",
    "Correct Answer": "Jupiter\n",
    "Incorrect Answer 1": "Mars",
    "Incorrect Answer 2": "Venus",
    "Incorrect Answer 3": "Earth",
    "Explanation": "It is a gas giant.",
    "High-level domain": "Physics",
}


def write_archive(tmp_path: Path, text: str, member: str = "dataset/gpqa_main.csv") -> str:
    (tmp_path / "gpqa").mkdir(exist_ok=True)
    with zipfile.ZipFile(tmp_path / "gpqa" / "dataset.zip", "w") as archive:
        archive.writestr(member, text)
    return str(tmp_path)


def csv_of(*rows: dict[str, str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, INVENTED)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def test_rows_are_read_from_the_archive(tmp_path: Path) -> None:
    task = load_task("gpqa", write_archive(tmp_path, csv_of(INVENTED)), 0)
    (row,) = task.rows("main")
    letter = "ABCD"[row.details["options"].index("Jupiter")]
    assert row.reference == f"Reasoning: It is a gas giant.\nAnswer: {letter}"
    assert (row.uid, row.category) == ("gpqa/main/rec1", "Physics")
    assert task.score(row, f"Answer: {letter}").correct
    assert sorted(row.details["options"]) == ["Earth", "Jupiter", "Mars", "Venus"]


def test_the_set_is_only_to_be_tested_on() -> None:
    task = load_task("gpqa", None, 0)
    assert task.test_splits == ("main", "diamond", "extended")
    with pytest.raises(UserError, match="task gpqa: has no training rows"):
        task.rows("train")


def test_an_archive_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    task = load_task("gpqa", str(tmp_path), 0)
    with pytest.raises(UserError, match=r"data_dir: .* has no gpqa/dataset\.zip"):
        task.rows("main")
    write_archive(tmp_path, csv_of(INVENTED))
    with pytest.raises(UserError, match=r"dataset\.zip: dataset/gpqa_diamond\.csv cannot be read"):
        task.rows("diamond")
    (tmp_path / "gpqa" / "dataset.zip").write_bytes(b"no archive")
    with pytest.raises(UserError, match=r"dataset\.zip: .* cannot be read"):
        task.rows("main")


def test_a_bad_row_is_named_without_its_text(tmp_path: Path) -> None:
    folder = write_archive(tmp_path, csv_of(INVENTED, {**INVENTED, "Incorrect Answer 2": ""}))
    with pytest.raises(UserError, match=r"gpqa_main\.csv, row 2: field 'Incorrect Answer 2'") as c:
        load_task("gpqa", folder, 0).rows("main")
    assert "planet" not in str(c.value)


def test_each_split_is_a_configuration_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(*names: Any, split: str) -> list[dict[str, Any]]:
        asked.append((*names, split))
        return [INVENTED]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    (row,) = load_task("gpqa", None, 0).rows("diamond")
    assert asked == [("Idavidrein/gpqa", "gpqa_diamond", "train")]
    assert row.uid == "gpqa/diamond/rec1"


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    text = csv_of(INVENTED).replace("Explanation", "Question", 1)
    with pytest.raises(UserError, match=r"gpqa_main\.csv: has two columns 'Question'; rename one"):
        load_task("gpqa", write_archive(tmp_path, text), 0).rows("main")
