from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from unisd_core.common.errors import UserError
from unisd_core.config.run import Config
from unisd_core.reporting.run_dir import RunDir


def configure(folder: Path, **sections: Any) -> Config:
    outputs = {"tensorboard": False, **sections.pop("outputs", {})}
    return Config.model_validate(
        {"name": "trial", "output_dir": str(folder), "outputs": outputs, **sections}
    )


def lines(run: RunDir) -> list[dict[str, Any]]:
    text = (run.path / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def events(run: RunDir, name: str) -> list[tuple[int, float]]:
    read = EventAccumulator(str(run.path / "tensorboard"))
    read.Reload()
    return [(event.step, event.value) for event in read.Scalars(name)]


def test_a_new_run_holds_its_configuration(tmp_path: Path) -> None:
    config = configure(tmp_path)
    run = RunDir.create(config)
    assert run.path == tmp_path / "trial"
    assert Config.from_preset(str(run.path / "config.yaml"), [], tmp_path) == config
    assert [path.name for path in run.path.iterdir()] == ["config.yaml"]


def test_an_unfinished_run_of_the_same_configuration_is_continued(tmp_path: Path) -> None:
    config = configure(tmp_path)
    RunDir.create(config).log(1, {"loss": 1.0})
    run = RunDir.create(config)
    run.log(2, {"loss": 0.5})
    assert [line["step"] for line in lines(run)] == [1, 2]


def test_a_finished_run_is_kept_unless_resumed(tmp_path: Path) -> None:
    config = configure(tmp_path)
    RunDir.create(config).write_summary({"steps": 1})
    with pytest.raises(UserError, match=r"finished; choose another name=\.\.\. or .* --resume"):
        RunDir.create(config)
    run = RunDir.create(config, resume=True)
    run.resume_from(1)
    assert not (run.path / "summary.json").exists()
    RunDir.create(config)


def test_another_configuration_is_refused_unless_resumed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    RunDir.create(configure(tmp_path))
    other = configure(tmp_path, training={"max_steps": 7})
    with pytest.raises(
        UserError, match=r"another training\.max_steps; choose another name=\.\.\. or"
    ):
        RunDir.create(other)
    run = RunDir.create(other, resume=True)
    assert Config.from_preset(str(run.path / "config.yaml"), [], tmp_path) == other
    assert "other values of training.max_steps" in caplog.text


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_that_is_no_run_is_never_touched(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match=r"no config\.yaml, so it is no run; set name="):
        RunDir.create(configure(tmp_path), resume=resume)
    assert [path.name for path in (tmp_path / "trial").iterdir()] == ["thesis.txt"]


def test_a_path_that_cannot_be_a_folder_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "trial").write_text("")
    with pytest.raises(UserError, match="cannot be created"):
        RunDir.create(configure(tmp_path))


def test_metrics_are_json_whatever_the_numbers_are(tmp_path: Path) -> None:
    run = RunDir.create(configure(tmp_path))
    run.log(
        3,
        {
            "nan": math.nan,
            "inf": np.float32(np.inf),
            "array": np.array([1.0, np.nan]),
            "scalar": np.int64(4),
            "nested": {"x": [math.inf, "text"]},
        },
    )
    (line,) = lines(run)
    assert line.pop("unix_time") > 1e9
    assert line == {
        "step": 3,
        "nan": None,
        "inf": None,
        "array": [1.0, None],
        "scalar": 4,
        "nested": {"x": [None, "text"]},
    }


def test_each_line_is_on_disk_at_once(tmp_path: Path) -> None:
    run = RunDir.create(configure(tmp_path))
    for step in range(3):
        run.log(step, {})
        assert len(lines(run)) == step + 1


@pytest.mark.parametrize("checkpoint", [0, 2])
def test_resuming_forgets_what_came_after_the_checkpoint(tmp_path: Path, checkpoint: int) -> None:
    config = configure(tmp_path, outputs={"tensorboard": True})
    run = RunDir.create(config)
    table = pa.table({"uid": ["a"]})
    for step in range(5):
        run.log(step, {"loss": float(step)})
        run.write_trajectories(step, table)
    run.close()
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')  # as a killed process leaves it

    again = RunDir.create(config)
    again.resume_from(checkpoint)
    again.log(checkpoint + 1, {"loss": 30.0})
    again.close()
    kept = list(range(checkpoint + 1))
    expected = [*((step, float(step)) for step in kept), (checkpoint + 1, 30.0)]
    assert [(line["step"], line["loss"]) for line in lines(again)] == expected
    assert events(again, "loss") == expected
    parts = sorted(path.name for path in (run.path / "trajectories").iterdir())
    assert parts == [f"step-{step:06d}-part-0.parquet" for step in kept]


def test_only_finite_scalars_become_events(tmp_path: Path) -> None:
    run = RunDir.create(configure(tmp_path, outputs={"tensorboard": True}))
    run.log(5, {"loss": np.float32(0.5), "text": "x", "nan": math.nan})
    run.close()
    assert events(run, "loss") == [(5, 0.5)]
    read = EventAccumulator(str(run.path / "tensorboard"))
    read.Reload()
    assert read.Tags()["scalars"] == ["loss"]


def test_optional_outputs_are_left_out_when_off(tmp_path: Path) -> None:
    run = RunDir.create(configure(tmp_path, outputs={"trajectories": False}))
    run.log(1, {"loss": 1.0})
    run.write_trajectories(1, pa.table({"uid": ["a"]}))
    assert sorted(path.name for path in run.path.iterdir()) == ["config.yaml", "metrics.jsonl"]


def test_trajectories_are_compressed_parquet_in_parts(tmp_path: Path) -> None:
    run = RunDir.create(configure(tmp_path))
    run.write_trajectories(1, pa.table({"uid": ["a"]}), part=0)
    run.write_trajectories(1, pa.table({"uid": ["b"]}), part=1)
    assert pq.read_table(run.path / "trajectories")["uid"].to_pylist() == ["a", "b"]
    first = pq.ParquetFile(run.path / "trajectories" / "step-000001-part-0.parquet")
    assert first.metadata.row_group(0).column(0).compression == "ZSTD"


def test_a_failed_summary_leaves_the_previous_one(tmp_path: Path) -> None:
    run = RunDir.create(configure(tmp_path))
    run.write_summary({"steps": 1, "mean": math.nan})
    with pytest.raises(TypeError):
        run.write_summary({"steps": object()})
    assert json.loads((run.path / "summary.json").read_text()) == {"steps": 1, "mean": None}


def test_an_opened_run_can_be_sent_to_another_process(tmp_path: Path) -> None:
    run = pickle.loads(pickle.dumps(RunDir.create(configure(tmp_path))))
    run.log(1, {"loss": 1.0})
    assert lines(run)[0]["loss"] == 1.0
