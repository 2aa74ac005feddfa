"""Rows of published sets with one field in another shape: read as what it is, or named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unisd_core.tasks.code.samples import FULL, HUMANEVAL
from tests.unisd_core.tasks.multiple_choice.test_task import PLANET
from tests.unisd_core.tasks.test_gsm8k import PENS
from tests.unisd_core.tasks.toolalpaca.folder import call, row, write_folder
from unisd_core.common.errors import UserError
from unisd_core.tasks.registry import load_task
from unisd_core.tasks.row import Row

SETS: dict[str, tuple[str, str, Mapping[str, Any]]] = {
    "cos_e": ("train", "train", PLANET),
    "gsm8k": ("train", "train", PENS),
    "mbpp": ("train", "full_train", FULL),
    "humaneval": ("test", "test", HUMANEVAL),
    "toolalpaca": ("test", "test", row()),
}
"""Set -> split, file of the split, a row of it."""
TEXTS = {
    "cos_e": ["question"], "gsm8k": ["question", "answer"], "mbpp": ["text", "code"],
    "humaneval": ["prompt", "entry_point", "canonical_solution", "test"],
    "toolalpaca": ["prompt", "name", "instruction"],
}  # fmt: skip
OPTIONAL = {
    "cos_e": ["rationale", "subject"], "mbpp": ["test_setup_code"],
    "toolalpaca": ["golden_response"],
}  # fmt: skip
NO_TEXT: dict[str, Any] = {
    "null": None, "blank": " \n", "number": 3, "fraction": 0.5, "truth value": True,
    "list": ["a"], "mapping": {"a": 1}, "half of a surrogate pair": "a\ud800",
}  # fmt: skip
LINES = {
    "no JSON": ("{", "malformed JSON"),
    "list": ("[]", "expected a JSON object, found list"),
    "key twice": ('{"id": 1, "id": 1}', "key 'id' appears twice"),
    "NUL": ('{"id": "\0"}', "holds NUL bytes"),
    "empty object": ("{}", "but it is missing; the row has no field"),
}

READ: list[tuple[str, dict[str, Any], str, Any]] = [
    ("cos_e", {"id": 17}, "uid", "cos_e/train/17"),
    ("cos_e", {"id": 1.5}, "uid", "cos_e/train/1.5"),
    ("cos_e", {"answer_index": 1.0}, "hint", "Jupiter is larger than Mars."),
    ("cos_e", {"choices": {"A": "Mars", "B": "Jupiter"}}, "category", "astronomy"),
    ("cos_e", {"choices": {"label": ["1", "2"], "text": ["Mars", "x"]}}, "category", "astronomy"),
    ("cos_e", {"choices": [7, 8, 9]}, "category", "astronomy"),
    ("cos_e", {"rationale": None, "lecture_chars": None}, "hint", ""),
    ("cos_e", {"rationale": " ", "lecture_chars": 0}, "hint", ""),
    ("cos_e", {"more": {"a": [None]}}, "category", "astronomy"),
    ("cos_e", {"question": "Wh\u00e4t\r\nis it?\u2028"}, "category", "astronomy"),
    ("mbpp", {"task_id": 11.0}, "uid", "mbpp/train/11"),
    ("mbpp", {"test_setup_code": None}, "uid", "mbpp/train/7"),
    ("humaneval", {"task_id": 3}, "uid", "humaneval/test/3"),
    ("toolalpaca", {"golden_response": None}, "uid", "toolalpaca/test/00000"),
    ("toolalpaca", {"golden_response": []}, "uid", "toolalpaca/test/00000"),
    ("gsm8k", {"answer": "#### 1,000\r\n"}, "reference", "#### 1,000"),
]
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("cos_e", {"choices": {"A": "x", "C": "y"}}, "'choices' must be a list of texts or, with"),
    ("cos_e", {"choices": [True, False]}, "'choices' must be a list of texts"),
    ("cos_e", {"choices": ["a", None]}, "'choices' must be a list of texts"),
    ("cos_e", {"choices": []}, "'choices' must hold 2 to 10 texts"),
    ("cos_e", {"choices": list("abcdefghijk")}, "'choices' must hold 2 to 10 texts"),
    ("cos_e", {"answer_index": True}, "'answer_index' must be an integer"),
    ("cos_e", {"answer_index": -1}, "'answer_index' must be an integer"),
    ("cos_e", {"answer_index": None}, "'answer_index' must be an integer"),
    ("cos_e", {"answer_index": 0.5}, "'answer_index' must be an integer"),
    ("cos_e", {"id": None}, "'id' must be text"),
    ("cos_e", {"id": False}, "'id' must be text"),
    ("gsm8k", {"answer": "42"}, "must end in a line '#### <number>'"),
    ("mbpp", {"task_id": True}, "'task_id' must be an integer"),
    ("mbpp", {"test_list": None}, "'test_list' must be a list of texts"),
    ("mbpp", {"test_list": [1]}, "'test_list' must be a list of texts"),
    ("humaneval", {"task_id": []}, "'task_id' must be text"),
    ("toolalpaca", {"golden_answer": {"Action": "x"}}, "'golden_answer' must be a list"),
    ("toolalpaca", {"golden_answer": [call("f", "[]")]}, "is no JSON object"),
    ("toolalpaca", {"golden_response": [1]}, "'golden_response' must be a list of texts"),
]
FIELDS = [
    *((name, {key: value}) for name in SETS for key in TEXTS[name] for value in NO_TEXT.values()),
    *(
        (name, {key: value})
        for name, keys in OPTIONAL.items()
        for key in keys
        for shape, value in NO_TEXT.items()
        if shape not in ("null", "blank") and (key, shape) != ("golden_response", "list")
    ),
]


def read(root: Path, name: str, *lines: str) -> list[Row]:
    split, file, _ = SETS[name]
    if name == "toolalpaca":
        write_folder(root)
    (root / name).mkdir(exist_ok=True)
    (root / name / f"{file}.jsonl").write_bytes("\n".join(lines).encode())
    return load_task(name, str(root), 0).rows(split)


def refusal(root: Path, name: str, line: str) -> str:
    with pytest.raises(UserError) as caught:
        read(root, name, "", line)
    message = str(caught.value)
    assert f"{SETS[name][1]}.jsonl:2: " in message and "\n" not in message
    return message


@pytest.mark.parametrize(("name", "changes"), FIELDS)
def test_what_is_no_text_is_named(tmp_path: Path, name: str, changes: dict[str, Any]) -> None:
    message = refusal(tmp_path, name, json.dumps({**SETS[name][2], **changes}))
    (key,) = changes
    assert f"'{key}' must be" in message or "malformed JSON ('utf-8' codec" in message


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("line", LINES)
def test_a_line_that_is_no_row_is_named(tmp_path: Path, name: str, line: str) -> None:
    text, message = LINES[line]
    assert message in refusal(tmp_path, name, text)


@pytest.mark.parametrize(("name", "changes", "key", "value"), READ)
def test_a_shape_that_is_unambiguous_is_read(
    tmp_path: Path, name: str, changes: dict[str, Any], key: str, value: Any
) -> None:
    (found,) = read(tmp_path, name, json.dumps({**SETS[name][2], **changes}))
    assert getattr(found, key) == value


@pytest.mark.parametrize(("name", "changes", "message"), REFUSED)
def test_a_shape_that_is_not_is_named(
    tmp_path: Path, name: str, changes: dict[str, Any], message: str
) -> None:
    assert message in refusal(tmp_path, name, json.dumps({**SETS[name][2], **changes}))


@pytest.mark.parametrize("name", ["cos_e", "mbpp", "humaneval"])
def test_all_ids_that_are_used_twice_are_named(tmp_path: Path, name: str) -> None:
    valid, key = SETS[name][2], "id" if name == "cos_e" else "task_id"
    ids = [1, 2, 1, 3, 2, 1]
    lines = [
        json.dumps({**valid, key: number if name != "cos_e" else str(number)}) for number in ids
    ]
    with pytest.raises(UserError) as caught:
        read(tmp_path, name, *lines)
    message = str(caught.value)
    assert ".jsonl:3, :6: " in message and "is already used at :1; :5: " in message
    assert message.endswith("is already used at :2; make ids unique")
    assert str(tmp_path) not in message.partition(".jsonl:3")[2]


def test_a_tool_described_twice_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path, eval_real=[row()])
    tools = tmp_path / "toolalpaca" / "tools.jsonl"
    tools.write_text(f"{tools.read_text()}\n{tools.read_text()}")
    with pytest.raises(UserError, match=r"tools\.jsonl:2: name 'Boats' is already used at :1"):
        load_task("toolalpaca", str(tmp_path), 0).rows("eval_real")
