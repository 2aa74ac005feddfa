"""Checkpoints a run finds before it trains: what it says of them and does with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.checkpoints import folder as checkpoints
from actors.checkpoints.files import MARKER
from actors.checkpoints.writer import CheckpointWriter
from pipelines.training.resume import recover
from tests.support.checkpoints import make
from unisd_core.common.errors import UserError
from unisd_core.config.run import Config
from unisd_core.reporting.run_dir import RunDir


def configure(output_dir: Path, mirror: Path | None, **settings: Any) -> Config:
    training = {"checkpoint_mirror": mirror.as_uri()} if mirror else {}
    tree = {"output_dir": str(output_dir), "training": training, **settings}
    return Config.model_validate(tree)


def trained(config: Config, *versions: int) -> RunDir:
    """A run that was cut off after these checkpoints."""
    run = RunDir.create(config)
    recover(config, run)
    writer = CheckpointWriter(config, run.path)
    for version in versions:
        writer.submit(make(version))
    writer.wait()
    return run


def test_a_new_run_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(configure(tmp_path / "runs", tmp_path / "mirror"))
    assert capsys.readouterr().out == ""


def test_the_same_command_on_a_new_machine_goes_on_from_the_mirror(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(configure(tmp_path / "lost", tmp_path / "mirror"), 0, 1, 2)
    config = configure(tmp_path / "new", tmp_path / "mirror")
    run = RunDir.create(config)
    recover(config, run)
    assert capsys.readouterr().out == "goes on from the checkpoint of step 2\n"
    assert checkpoints.newest_step(run.path / "checkpoints") == 2


def test_a_broken_checkpoint_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configure(tmp_path / "runs", None)
    run = trained(config, 1, 2)
    (run.path / "checkpoints" / "step-000002" / MARKER).unlink()
    recover(config, run)
    assert capsys.readouterr().out == (
        "checkpoint step-000002 is skipped: complete.json is missing\n"
        "goes on from the checkpoint of step 1\n"
    )


def test_another_run_of_the_name_does_not_touch_the_mirror(tmp_path: Path) -> None:
    trained(configure(tmp_path / "runs", tmp_path / "mirror"), 1)
    before = sorted(tmp_path.joinpath("mirror").rglob("*"))
    other = configure(tmp_path / "other", tmp_path / "mirror", seed=1)
    with pytest.raises(UserError, match="with another seed"):
        trained(other, 2)
    assert sorted(tmp_path.joinpath("mirror").rglob("*")) == before


def test_a_mirror_may_be_set_in_a_run_that_goes_on(tmp_path: Path) -> None:
    trained(configure(tmp_path / "runs", None), 1)
    config = configure(tmp_path / "runs", tmp_path / "mirror")
    run = RunDir.create(config, resume=True)
    recover(config, run)
    assert (tmp_path / "mirror" / "unisd" / "config.yaml").exists()
