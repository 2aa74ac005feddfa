"""Copies of a run's numbers: what each service is told, and that none of them can end a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unisd_core.common.errors import UserError
from unisd_core.config.run import Config
from unisd_core.reporting.run_dir import RunDir
from unisd_core.reporting.sinks import Sinks

WANDB = """
import json, pathlib
calls = pathlib.Path(__file__).with_name("calls.jsonl")
def note(*call):
    with calls.open("a") as file:
        file.write(json.dumps(call) + "\\n")
class Run:
    def define_metric(self, name, step_metric): note("define", name, step_metric)
    def log(self, values):
        if values["loss"] < 0: raise OSError("quota\\nexceeded")
        note("log", values)
    def finish(self): note("finish")
def init(**settings):
    note("init", settings)
    return Run()
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A stand-in for wandb on the path; what it was told, on demand."""
    library = tmp_path / "library"
    library.mkdir()
    (library / "wandb.py").write_text(WANDB)
    monkeypatch.syspath_prepend(library)
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    yield lambda: [json.loads(line) for line in (library / "calls.jsonl").read_text().splitlines()]
    sys.modules.pop("wandb", None)


def configure(folder: Path, **outputs: Any) -> Config:
    return Config.model_validate(
        {
            "name": "trial",
            "output_dir": str(folder),
            "outputs": {"tensorboard": False, **outputs},
            "training": {"max_steps": 7},
        }
    )


def test_wandb_gets_settings_and_finite_scalars_under_our_own_step(
    tmp_path: Path, calls: Any
) -> None:
    run = RunDir.create(configure(tmp_path, wandb="project"))
    run.log(3, {"loss": np.float32(0.5), "text": "x", "gone": float("nan")})
    run.close()
    (init, settings), define, log, finish = calls()
    assert (init, settings["project"], settings["name"]) == ("init", "project", "trial")
    assert settings["config"]["training.max_steps"] == 7
    assert settings["dir"] == str(run.path)
    assert define == ["define", "*", "step"]
    assert log == ["log", {"loss": 0.5, "step": 3}]
    assert finish == ["finish"]


def test_a_resumed_run_is_the_same_run_there(tmp_path: Path, calls: Any) -> None:
    for step in (1, 2):
        run = RunDir.create(configure(tmp_path, wandb="project"))
        run.log(step, {"loss": 1.0})
        run.close()
    ids = [settings["id"] for kind, *rest in calls() if kind == "init" for settings in rest]
    assert len(ids) == 2 and len(set(ids)) == 1


def test_a_service_that_fails_costs_a_warning_and_not_the_run(
    tmp_path: Path, calls: Any, caplog: pytest.LogCaptureFixture
) -> None:
    run = RunDir.create(configure(tmp_path, wandb="project"))
    for step, loss in enumerate((1.0, -1.0, 1.0)):
        run.log(step, {"loss": loss})
    run.close()
    assert [kind for kind, *_ in calls()] == ["init", "define", "log"]
    assert len((run.path / "metrics.jsonl").read_text().splitlines()) == 3
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "outputs.wandb gets nothing more (quota); metrics.jsonl has everything" in warning


def test_a_service_that_cannot_be_opened_leaves_the_others(
    tmp_path: Path, calls: Any, caplog: pytest.LogCaptureFixture
) -> None:
    config = configure(tmp_path, wandb="project", tensorboard=True)
    # No config.yaml to read the settings from.
    sinks = Sinks(tmp_path, config.outputs, None)
    sinks.log(1, {"loss": 1.0})
    sinks.close()
    assert "outputs.wandb gets nothing more" in caplog.text
    assert list((tmp_path / "tensorboard").iterdir())


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_missing_package_is_one_line_before_anything_is_made(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=rf"outputs\.{name}.*pip install -e '\.\[{name}\]'"):
        RunDir.create(configure(tmp_path, **{name: "x"}))
    assert not (tmp_path / "trial").exists()


def test_mlflow_keeps_a_resumed_run_in_files_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="pip install mlflow-skinny")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    for step in (1, 2):
        run = RunDir.create(configure(tmp_path, mlflow="experiment"))
        run.log(step, {"loss": step / 2})
        run.close()
    client = tracking.MlflowClient((run.path / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("experiment")
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.run_name, found.info.status) == ("trial", "FINISHED")
    assert found.data.params["training.max_steps"] == "7"
    history = client.get_metric_history(found.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(1, 0.5), (2, 1.0)]
