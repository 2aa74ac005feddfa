"""Files that begin with a byte-order mark, or are in another encoding."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.ablation.grid import load_grid
from pipelines.command.cli import PRESETS_DIR
from pipelines.command.help import preset_summaries
from tests.unisd_core.tasks.code.samples import HUMANEVAL
from tests.unisd_core.tasks.multiple_choice.test_gpqa import INVENTED, csv_of, write_archive
from tests.unisd_core.tasks.toolalpaca.folder import row as question
from tests.unisd_core.tasks.toolalpaca.folder import write_folder
from unisd_core.common.errors import UserError
from unisd_core.common.files import json_lines
from unisd_core.common.user_text import WrittenFloat, parse_json, read_json, read_text
from unisd_core.config.data import CustomConfig
from unisd_core.config.run import Config
from unisd_core.synthesis.sources import open_source
from unisd_core.tasks.custom.task import CustomTask
from unisd_core.tasks.registry import load_task

MARK = "\ufeff"
LINE = '{"prompt": "Why?", "reference": "So."}\n'


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def rows(path: Path, mark: str) -> Any:
    file = written(path / "rows.jsonl", mark + LINE)
    return CustomTask(CustomConfig(train=str(file), test=str(file))).rows("train")


def prompts(path: Path, mark: str) -> Any:
    source = open_source(str(written(path / "rows.jsonl", mark + LINE)), Config())
    return [list(source.stream()), source.read(0, 1)]


def preset(path: Path, mark: str) -> Any:
    file = written(path / "own.yaml", f"{mark}# Own.\nseed: 7\n")
    config = Config.from_preset(str(file), [])
    return config, preset_summaries(path)["own"]


def grid(path: Path, mark: str) -> Any:
    text = "name: own\ntask: minitools\nruns:\n  - {preset: sft, seeds: [0]}\n"
    return load_grid(str(written(path / "own.yaml", mark + text)), [], PRESETS_DIR)


def template(path: Path, mark: str) -> Any:
    write_folder(path, eval_real=[question()])
    file = path / "toolalpaca" / "prompt_template.txt"
    file.write_text(f"{mark}{file.read_text()}")
    tools = path / "toolalpaca" / "tools.jsonl"
    tools.write_text(f"{mark}{tools.read_text()}")
    return load_task("toolalpaca", str(path), 0).rows("eval_real")


def published(path: Path, mark: str) -> Any:
    written(path / "humaneval" / "test.jsonl", mark + json.dumps(HUMANEVAL))
    return load_task("humaneval", str(path), 0).rows("test")


def table(path: Path, mark: str) -> Any:
    folder = write_archive(path, mark + csv_of(INVENTED))
    return load_task("gpqa", folder, 0).rows("main")


def metrics(path: Path, mark: str) -> Any:
    return json_lines(written(path / "metrics.jsonl", f'{mark}{{"step": 1}}\n'))


def model_file(path: Path, mark: str) -> Any:
    return read_json(written(path / "adapter_config.json", f'{mark}{{"r": 8}}'))


READERS: dict[str, Callable[[Path, str], Any]] = {
    "custom rows": rows, "input of a synthesis": prompts, "preset": preset, "grid": grid,
    "prompt template and tools": template, "published rows": published, "table": table,
    "lines of a run": metrics, "file of a model": model_file,
}  # fmt: skip


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_byte_order_mark_changes_nothing(
    tmp_path: Path, read: Callable[[Path, str], Any]
) -> None:
    plain, marked = tmp_path / "a", tmp_path / "b"
    plain.mkdir()
    marked.mkdir()
    assert repr(read(marked, MARK)).replace("/b/", "/a/") == repr(read(plain, ""))


def test_a_file_that_is_only_a_mark_is_empty(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"rows\.jsonl: no rows"):
        file = written(tmp_path / "rows.jsonl", f"{MARK}\n\n")
        CustomTask(CustomConfig(train=str(file), test=str(file))).rows("train")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
@pytest.mark.parametrize("kind", ["jsonl", "yaml", "synthesis"])
def test_another_encoding_is_named_in_one_line(tmp_path: Path, encoding: str, kind: str) -> None:
    path = tmp_path / f"rows.{kind.replace('synthesis', 'jsonl')}"
    text = "name: d\u00e9j\u00e0\n" if kind == "yaml" else LINE.replace("So", "d\u00e9j\u00e0")
    path.write_bytes(text.encode(encoding))
    with pytest.raises(UserError) as caught:
        if kind == "yaml":
            Config.from_preset(str(path), [])
        elif kind == "jsonl":
            CustomTask(CustomConfig(train=str(path), test=str(path))).rows("train")
        else:
            list(open_source(str(path), Config()).stream())
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    if encoding == "utf-16" or (kind != "yaml" and encoding.startswith("utf-16")):
        assert "UTF-16" in message and "UTF-8" in message


def test_lines_end_alike(tmp_path: Path) -> None:
    assert read_text(written(tmp_path / "a.txt", f"{MARK}a\r\nb\rc\n")) == "a\nb\nc\n"
    with pytest.raises(UserError, match=r"gone\.txt: cannot be read \(No such file"):
        read_text(tmp_path / "gone.txt")


def test_floats_keep_their_spelling_and_keys_are_unique() -> None:
    found = parse_json('{"a": [1.50, 2e3, 4], "b": {"a": 1}}')
    assert [x.written for x in found["a"] if isinstance(x, WrittenFloat)] == ["1.50", "2e3"]
    assert found == {"a": [1.5, 2000.0, 4], "b": {"a": 1}}
    with pytest.raises(ValueError, match="key 'a' appears twice"):
        parse_json('{"b": [{"a": 1, "a": 1}]}')
