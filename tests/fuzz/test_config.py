"""Presets, overrides, grids and a run's own config.yaml: a checked configuration, or one line."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from pipelines.ablation.grid import GRIDS_DIR, Grid, load_grid
from pipelines.command.cli import PRESETS_DIR, build_parser, run_main
from tests.fuzz.damage import (
    MISPLACED,
    NASTY_TEXTS,
    damaged_bytes,
    damaged_fields,
    json_object,
    misplace,
    texts,
    values,
)
from tests.fuzz.harness import accepted, fuzz
from unisd_core.config.base import leaf_fields
from unisd_core.config.load import config_sha256, dump_config
from unisd_core.config.run import Config
from unisd_core.reporting.run_dir import RunDir

KEYS = sorted(leaf_fields(Config))
PRESETS = sorted(path.read_bytes() for path in PRESETS_DIR.rglob("*.yaml"))
GRIDS = sorted(path.read_bytes() for path in GRIDS_DIR.rglob("*.yaml"))
YAML_VALUES = (
    "1e400", "-1e400", ".inf", ".nan", "!!float nope", "!!int x", "!!bool x", "!!timestamp x",
    "!!timestamp 2024-13-45", "!!binary '%'", "!!set {a, b}", "!!omap [a: 1]", "!!map x",
    "&a [*a]", "&a {b: *a}", "*nobody", "[" * 3000, "{a: " * 3000, "1" * 5000, "{[1]: 2}", "\x07",
    "&a [x,x,x,x,x,x,x,x,x]", "|", "? x", "'", "\"\\ud800\"", "\"\\0\"", "off", "01", "+", "~",
    "[q_proj, 3]", "[]", "{}", "[[]]", "2024-01-01", "<<: {a: 1}", "<<", "=", "!x", "%", "@",
)  # fmt: skip
LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(f'*{before}' for _ in range(9))}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("presets")


def check_round_trip(config: Config | None, folder: Path) -> None:
    """A configuration that was accepted is written to the run's folder and read from there."""
    if config is None:
        return
    (folder / "again.yaml").write_text(dump_config(config), encoding="utf-8")
    again = Config.from_preset(str(folder / "again.yaml"))
    assert again == config
    assert config_sha256(again) == config_sha256(config)


@st.composite
def overrides(draw: DrawFn) -> str:
    key = draw(st.sampled_from(KEYS) | st.sampled_from(["training", "", "base"]) | texts(12))
    shown = texts(20) | st.sampled_from(YAML_VALUES) | values().map(lambda x: json.dumps(x))
    return f"{key}{draw(st.sampled_from(['=', '=', '=', '', ' = ', '==']))}{draw(shown)}"


@st.composite
def settings_tree(draw: DrawFn) -> dict[str, Any]:
    """Sections and settings under their names, most with a value of some other type."""
    root: dict[str, Any] = {}
    for key in draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=4, unique=True)):
        *sections, leaf = key.split(".")
        node = root
        for section in sections:
            node = node.setdefault(section, {})
        node[leaf] = draw(values())
    return draw(damaged_fields(root))


@fuzz(60)
@given(st.lists(overrides(), min_size=1, max_size=3))
@example(["training.learning_rate=1e400"])
@example(["model.lora.target_modules=" + "[" * 3000])
@example(["training.max_steps=" + "1" * 5000])
@example(['name=!!timestamp "x"'])
@example(['data_dir="\\ud800"'])
@example(["data_dir=\ud800"])
def test_overrides(folder: Path, given: list[str]) -> None:
    config = accepted(
        "config: override",
        [*KEYS, *given, "setting"],
        lambda: Config.from_preset(None, given),
    )
    check_round_trip(config, folder)


def read_preset(path: Path) -> Config:
    return Config.from_preset(str(path))


@fuzz(40)
@given(st.sampled_from(PRESETS).flatmap(damaged_bytes))
@example(LAUGHS.encode() + b"model:\n  lora:\n    targets: *i\n")
@example(b"task: &a [*a]")
@example(b"{" * 100_000)
def test_damaged_presets(folder: Path, data: bytes) -> None:
    path = folder / "damaged.yaml"
    path.write_bytes(data)
    accepted("config: damaged preset", [path, *KEYS], lambda: read_preset(path))


@fuzz(40)
@given(settings_tree().flatmap(json_object))
def test_presets_of_other_types(folder: Path, text: str) -> None:
    path = folder / "types.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    config = accepted("config: preset of other types", [path, *KEYS], lambda: read_preset(path))
    check_round_trip(config, folder)


@fuzz(40)
@given(st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(YAML_VALUES)), max_size=2))
def test_presets_with_odd_yaml(folder: Path, pairs: list[tuple[str, str]]) -> None:
    path = folder / "odd.yaml"
    lines = []
    for key, value in pairs:
        *sections, leaf = key.split(".")
        lines += ["  " * n + f"{name}:" for n, name in enumerate(sections)]
        lines.append("  " * len(sections) + f"{leaf}: {value}")
    path.write_text("\n".join(lines), encoding="utf-8")
    config = accepted("config: preset with odd YAML", [path, *KEYS], lambda: read_preset(path))
    check_round_trip(config, folder)


@fuzz(15)
@given(texts(12) | st.builds("{}.yaml".format, texts(12)), st.booleans())
@example("a" * 300, False)
@example("a/" * 3000 + "x.yaml", True)
def test_names_of_presets(folder: Path, name: str, as_base: bool) -> None:
    path = folder / "base.yaml"
    path.write_text(f"base: {json.dumps(name)}", encoding="utf-8")
    given = str(path) if as_base else name
    accepted("config: name", ["preset", path, "base"], lambda: Config.from_preset(given))


@fuzz(15)
@given(st.sampled_from(GRIDS).flatmap(damaged_bytes))
def test_damaged_grids(folder: Path, data: bytes) -> None:
    path = folder / "grid.yaml"
    path.write_bytes(data)
    accepted("config: damaged grid", [path], lambda: load_grid(str(path), [], PRESETS_DIR))


RUN = {"preset": "demo", "seeds": [0, 1], "settings": {"training": {"max_steps": 2}}, "label": "x"}
GRID = {"name": "g", "task": "minitools", "common": {"training.max_steps": 3}, "runs": [RUN]}


@fuzz(25)
@given(damaged_fields(GRID), damaged_fields(RUN))
def test_grids_of_other_types(folder: Path, grid: dict[str, Any], run: dict[str, Any]) -> None:
    path = folder / "types-grid.yaml"
    if "runs" in grid and grid["runs"] == [RUN]:
        grid["runs"] = [run]
    path.write_text(json.dumps(grid), encoding="utf-8")

    def read() -> Grid:
        return load_grid(str(path), [], PRESETS_DIR)

    found = accepted("config: grid of other types", [path], read)
    assert found is None or [cell.key for cell in found.cells]


def resume(config: Config, again: bool) -> None:
    RunDir.create(config, resume=again)


@fuzz(25)
@given(damaged_bytes(dump_config(Config()).encode()), st.booleans())
def test_the_configuration_of_a_run_that_is_continued(
    folder: Path, data: bytes, again: bool
) -> None:
    config = Config(output_dir=str(folder / "runs"), name="torn")
    path = folder / "runs" / "torn" / "config.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    accepted("config: of a run", [path.parent, *KEYS], lambda: resume(config, again))


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("how", MISPLACED)
def test_no_file_in_the_place_of_the_configuration(tmp_path: Path, how: str, again: bool) -> None:
    preset = misplace(tmp_path / "presets" / "one.yaml", how)
    accepted("config: misplaced", [preset], lambda: read_preset(preset))
    grid = misplace(tmp_path / "grids" / "one.yaml", how)
    accepted("config: misplaced", [grid], lambda: load_grid(str(grid), [], PRESETS_DIR))
    run = misplace(tmp_path / "runs" / "config.yaml", how).parent
    config = Config(output_dir=str(tmp_path), name="runs")
    accepted("config: misplaced", [run], lambda: resume(config, again))


@fuzz(15)
@given(st.lists(overrides().filter(lambda x: not x.startswith("-")), max_size=3), texts(10))
def test_the_command_line_says_one_line(given: list[str], preset: str) -> None:
    seen = io.StringIO()

    def run() -> int:
        with contextlib.redirect_stderr(seen):
            return run_main(lambda config, args: 0, build_parser(), [f"--preset={preset}", *given])

    code = accepted("config: command line", [], run)
    assert code in (0, 2)
    assert seen.getvalue().count("\n") == (0 if code == 0 else 1)


@pytest.mark.parametrize(
    "key", ["task", "data_dir", "training.max_steps", "training.learning_rate", "model.dtype"]
)
@pytest.mark.parametrize("text", NASTY_TEXTS)
def test_every_nasty_text_as_every_kind_of_setting(folder: Path, text: str, key: str) -> None:
    given = [f"{key}={text}"]
    config = accepted("config: nasty text", [key], lambda: Config.from_preset(None, given))
    check_round_trip(config, folder)
