from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import ablate
from pipelines.ablation.grid import GRIDS_DIR, load_grid
from pipelines.ablation.results import read_results
from pipelines.command.cli import PRESETS_DIR
from unisd_core.common.errors import UserError
from unisd_core.config.load import dump_config
from unisd_core.config.run import Config

GRID = """
name: small
task: cos_e
common:
  training: {max_steps: 3, learning_rate: 2e-3}
  objective: {agreement: {level: off}}
runs:
  - {preset: sdft, seeds: [0, 1]}
  - preset: unisd_full
    label: all
    seeds: [0]
    settings: {training: {max_steps: 4}, objective: {features: {layers: [0, -1]}}}
"""


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.yaml"
    path.write_text(GRID)
    return path


class Runner:
    """Stands in for the processes: writes what a finished run leaves behind."""

    def __init__(self, failing: Sequence[str] = ()) -> None:
        self.failing = failing
        self.names: list[str] = []

    def __call__(self, command: list[str]) -> int:
        preset, overrides = command[command.index("--preset") + 1], command[4:]
        config = Config.from_preset(preset, overrides, PRESETS_DIR)
        self.names.append(config.name)
        if config.name in self.failing:
            return 3
        # A real run writes down the task's own limit.
        rollout = config.rollout.model_copy(update={"max_completion_length": 77})
        folder = Path(config.output_dir) / config.name
        (folder / "evaluation").mkdir(parents=True)
        (folder / "config.yaml").write_text(
            dump_config(config.model_copy(update={"rollout": rollout}))
        )
        for stage, correct in {"base": [False, False], "final": [True, False]}.items():
            table = pa.table({"uid": ["u0", "u1"], "completion": ["", ""], "correct": correct})
            pq.write_table(table, folder / "evaluation" / f"{stage}-held.parquet")
        summary = {
            "accuracy": {"held": {}},
            "steps": config.training.max_steps,
            "seconds": {"total": 12.34, "learn": 2.0},
            "tokens_per_second": {"learn": 50.0},
            "mechanisms": {"ema_distance": None},
            "versions": {"torch": "2", "ray": "3", "numpy": "4"},
        }
        (folder / "summary.json").write_text(json.dumps(summary))
        return 0


def run(grid: Path, runner: Runner, *more: str) -> int:
    return ablate.main(["--grid", str(grid), "--results", "results/small.jsonl", *more], runner)


RESULTS = Path("results/small.jsonl")


def test_first_seeds_come_first_and_settings_override_in_order(grid: Path) -> None:
    cells = load_grid(str(grid), ["data_dir=data"], PRESETS_DIR).cells
    assert [cell.name for cell in cells] == ["sdft-s0", "all-s0", "sdft-s1"]
    first, own, second = (cell.config for cell in cells)
    assert (first.training.max_steps, own.training.max_steps) == (3, 4)
    assert (first.seed, second.seed) == (0, 1)
    assert own.objective.features.layers == (0, -1)
    assert first.task == "cos_e" and first.data_dir == "data" and first.output_dir == "runs/small"
    assert own.training.learning_rate == 2e-3 and own.objective.agreement.level == "off"


def test_the_key_ignores_where_and_on_what_a_cell_runs(grid: Path) -> None:
    def key(*overrides: str) -> str:
        return load_grid(str(grid), overrides, PRESETS_DIR).cells[0].key

    assert key("output_dir=x", "generator.replicas=2", "learner.cpus=2") == key()
    assert key("training.max_steps=5") != key()


def test_a_finished_cell_is_one_line_and_is_not_run_again(grid: Path) -> None:
    runner = Runner()
    assert run(grid, runner) == 0
    assert runner.names == ["sdft-s0", "all-s0", "sdft-s1"]
    line = read_results(RESULTS)[1]
    assert (line.label, line.preset, line.seed, line.steps) == ("all", "unisd_full", 0, 4)
    assert (line.seconds, line.tokens) == (12.3, {"learn": 100})
    outcome = line.test_sets["held"]
    assert (outcome.rows, outcome.base, outcome.final) == (2, 0.0, 0.5)
    assert (outcome.base_bits, outcome.final_bits) == ("00", "80")
    assert set(line.versions) == {"unisd", "torch", "vllm", "ray"}

    before = RESULTS.read_bytes()
    assert run(grid, runner) == 0
    assert len(runner.names) == 3
    assert RESULTS.read_bytes() == before


def test_a_limited_grid_goes_on_where_it_stopped(grid: Path) -> None:
    runner = Runner()
    assert run(grid, runner, "--limit", "1") == 0
    assert runner.names == ["sdft-s0"]
    assert run(grid, runner, "--only", "sdft") == 0
    assert runner.names == ["sdft-s0", "sdft-s1"]


def test_a_run_that_finished_without_its_line_is_only_collected(grid: Path) -> None:
    runner = Runner()
    run(grid, runner)
    RESULTS.unlink()
    assert run(grid, runner) == 0
    assert len(runner.names) == 3 and len(read_results(RESULTS)) == 3


def test_a_finished_run_of_other_settings_is_not_taken_for_the_cell(grid: Path) -> None:
    run(grid, Runner(), "--limit", "1")
    RESULTS.unlink()
    # The real job refuses the folder of another run, as this one does.
    again = Runner(failing=["sdft-s0"])
    assert run(grid, again, "--limit", "1", "training.learning_rate=1e-4") == 1
    assert again.names == ["sdft-s0"]


def test_a_failed_cell_does_not_end_the_grid(
    grid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = Runner(failing=["sdft-s0"])
    assert run(grid, runner) == 1
    assert len(runner.names) == 3
    error = capsys.readouterr().err
    assert "sdft-s0: failed with exit code 3" in error
    assert error.endswith("failed: sdft-s0\n")
    assert [line.label for line in read_results(RESULTS)] == ["all", "sdft"]
    retry = Runner()
    assert run(grid, retry) == 0
    assert retry.names == ["sdft-s0"]


def test_a_torn_last_line_is_run_again(grid: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(grid, Runner(), "--limit", "2")
    RESULTS.write_bytes(RESULTS.read_bytes()[:-20])
    runner = Runner()
    assert run(grid, runner) == 0
    assert "cut off" in caplog.text
    assert runner.names == ["sdft-s1"]  # the folder of all-s0 is finished
    assert [line.label for line in read_results(RESULTS)] == ["sdft", "all", "sdft"]


def test_another_broken_line_is_refused(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(grid, Runner())
    RESULTS.write_text("{}\n" + RESULTS.read_text())
    assert run(grid, Runner()) == 2
    assert "small.jsonl: line 1 is no result of a run" in capsys.readouterr().err


def test_the_page_beside_the_folder_gets_the_table(grid: Path) -> None:
    page = Path("results.md")
    page.write_text("a\n<!-- table:small -->\nold\n<!-- end -->\nb\n<!-- end -->\n")
    run(grid, Runner())
    text = page.read_text()
    assert text.startswith("a\n<!-- table:small -->\n\n**held**")
    assert text.endswith("<!-- end -->\nb\n<!-- end -->\n") and "old" not in text
    assert "| all | 1 | 0.0 % | 50.0 % |" in text


def test_drawing_runs_nothing_and_gives_equal_bytes(grid: Path) -> None:
    run(grid, Runner())
    figure = Path("results/small.svg")
    before = figure.read_bytes()
    figure.unlink()
    runner = Runner()
    assert run(grid, runner, "--draw") == 0
    assert runner.names == [] and figure.read_bytes() == before
    text = before.decode()
    assert ">sdft<" in text and ">all<" in text and ">held<" in text


def test_a_dry_run_says_what_is_left(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(grid, Runner(), "--limit", "1")
    capsys.readouterr()
    runner = Runner()
    assert run(grid, runner, "--dry-run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [entry.split("  ")[0] for entry in lines] == ["done", "to run", "to run"]
    assert "--preset unisd_full" in lines[1] and "name=all-s0" in lines[1]
    assert runner.names == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--only", "sdtf"], "--only sdtf: no such run in grid small; did you mean sdft?"),
        (["--reference", "al"], "--reference al: no such run in grid small; did you mean all?"),
        (["seed=4"], "seed=4: the grid sets seed itself"),
        (["training.stepz=4"], "sdft: training.stepz is not a setting"),
        (["--limit", "-1"], "--limit -1: must be 0 or more"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(
    grid: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = Runner()
    assert run(grid, runner, *more) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert runner.names == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("common:", "comon:", "comon is no key here; known are name, task"),
        ("seeds: [0, 1]", "sedes: [0]", "runs.0.seeds is missing"),
        ("max_steps: 3", "stepz: 3", "training.stepz is not a setting"),
        ("seeds: [0, 1]", "seeds: [0, 0]", "two runs are named sdft-s0"),
        ("task: cos_e", "task: cos_e\ntask: arc_easy", "key 'task' appears twice"),
        ("preset: sdft", "preset: sdtf", "did you mean sdft?"),
    ],
)
def test_mistakes_in_a_grid_name_the_file_and_the_key(
    grid: Path, old: str, new: str, message: str
) -> None:
    grid.write_text(GRID.replace(old, new))
    with pytest.raises(UserError, match=r"small\.yaml") as found:
        load_grid(str(grid), [], PRESETS_DIR)
    assert message in str(found.value)


@pytest.mark.parametrize("path", sorted(GRIDS_DIR.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_grid_resolves(path: Path) -> None:
    assert load_grid(path.stem, [], PRESETS_DIR).name == path.stem


def test_a_misspelt_grid_is_named(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ablate.main(["--grid", "minitool"], Runner()) == 2
    assert "did you mean minitools?" in capsys.readouterr().err


def test_a_failing_process_has_its_last_line_of_errors_repeated(
    capfd: pytest.CaptureFixture[str],
) -> None:
    program = "import sys; sys.stderr.write('early\\nbad row 7\\n\\n'); sys.exit(5)"
    assert ablate.launch_process([sys.executable, "-c", program]) == 5
    assert capfd.readouterr().err == "early\nbad row 7\n\nlast line: bad row 7\n"


def test_committed_results_count_as_done() -> None:
    results = Path(__file__).parents[2] / "docs" / "results" / "minitools.jsonl"
    known = {line.key for line in read_results(results)}
    assert known <= {cell.key for cell in load_grid("minitools", [], PRESETS_DIR).cells}
