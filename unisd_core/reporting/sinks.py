"""Sinks for the scalars of a run beside ``metrics.jsonl``: TensorBoard, MLflow, Weights & Biases.

Each library is imported when its sink is opened. A service that fails later costs its copy of the
numbers and not the run: the sink is closed with a warning.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import yaml  # type: ignore[import-untyped]

from unisd_core.common.errors import UserError, reason
from unisd_core.common.user_text import read_text
from unisd_core.config.base import dotted
from unisd_core.config.run import OutputsConfig

logger = logging.getLogger(__name__)


class Sink(Protocol):
    """Takes the finite scalars of a step."""

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Record ``scalars`` of ``step``."""

    def close(self) -> None:
        """Hand over what is buffered."""


class Sinks:
    """All sinks that ``outputs`` asks for, of the run in ``path``.

    TensorBoard hides what an earlier process wrote from ``purge_step`` on.
    """

    def __init__(self, path: Path, outputs: OutputsConfig, purge_step: int | None) -> None:
        asked: dict[str, Callable[[], Sink]] = {}
        if outputs.tensorboard:
            asked["tensorboard"] = lambda: TensorBoard(path, purge_step)
        if outputs.mlflow is not None:
            experiment = outputs.mlflow
            asked["mlflow"] = lambda: Mlflow(path, experiment)
        if outputs.wandb is not None:
            project = outputs.wandb
            asked["wandb"] = lambda: Wandb(path, project)
        self._open: dict[str, Sink] = {}
        for name, make in asked.items():
            try:
                self._open[name] = make()
            except Exception as error:
                self._give_up(name, error)

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Pass the scalars on to every sink."""
        self._each(lambda sink: sink.log(step, scalars))

    def close(self) -> None:
        """Close every sink."""
        self._each(lambda sink: sink.close())
        self._open = {}

    def _each(self, act: Callable[[Sink], None]) -> None:
        for name, sink in list(self._open.items()):
            try:
                act(sink)
            except Exception as error:
                self._give_up(name, error)

    def _give_up(self, name: str, error: Exception) -> None:
        self._open.pop(name, None)
        logger.warning(
            "outputs.%s gets nothing more (%s); metrics.jsonl has everything", name, reason(error)
        )


def check_sinks(outputs: OutputsConfig) -> None:
    """Raise UserError for a sink whose package is not installed."""
    for name in ("mlflow", "wandb"):
        if getattr(outputs, name) is not None and importlib.util.find_spec(name) is None:
            raise UserError(
                f"outputs.{name}: the package {name} is not installed; "
                f"pip install -e '.[{name}]', or set outputs.{name}=null"
            )


class TensorBoard:
    """Event files in ``tensorboard/``."""

    def __init__(self, path: Path, purge_step: int | None) -> None:
        from tensorboardX import SummaryWriter

        self._events = SummaryWriter(
            str(path / "tensorboard"),
            purge_step=purge_step,
            flush_secs=10,
            # File names count seconds only: a second writer would overwrite the first one's.
            filename_suffix=f".{time.time_ns()}",
        )

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        for name, value in scalars.items():
            self._events.add_scalar(name, value, step)

    def close(self) -> None:
        self._events.close()


class Mlflow:
    """A run of an MLflow experiment, which a resumed run continues (``mlflow.id``).

    The server is that of MLFLOW_TRACKING_URI; without one, the folder ``mlruns`` in
    the run's own.
    """

    def __init__(self, path: Path, experiment: str) -> None:
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(_tracking_uri(path))
        self._pending: Any = None

        def begin() -> str:
            known = self._client.get_experiment_by_name(experiment)
            group = known.experiment_id if known else self._client.create_experiment(experiment)
            run = self._client.create_run(group, run_name=path.name).info.run_id
            params = [Param(key, str(value)) for key, value in _settings(path)]
            for start in range(0, len(params), 100):  # as many as one request may hold
                self._client.log_batch(run, params=params[start : start + 100])
            return str(run)

        self._run = _kept_id(path / "mlflow.id", begin)
        self._client.update_run(self._run, status="RUNNING")

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(name, value, now, step) for name, value in scalars.items()]
        # In a thread of MLflow's own, so that a slow server does not hold up the learner.
        self._pending = self._client.log_batch(self._run, metrics=metrics, synchronous=False)

    def close(self) -> None:
        if self._pending is not None:
            self._pending.wait()
        self._client.set_terminated(self._run)


class Wandb:
    """A run of a Weights & Biases project, which a resumed run continues (``wandb.id``).

    WANDB_MODE=offline keeps it in the run's folder, for ``wandb sync``. A step that is repeated
    after a rollback is recorded twice: what was sent cannot be taken back.
    """

    def __init__(self, path: Path, project: str) -> None:
        import wandb

        self._run = wandb.init(
            project=project,
            name=path.name,
            id=_kept_id(path / "wandb.id", lambda: uuid.uuid4().hex),
            resume="allow",
            dir=str(path),
            config=dict(_settings(path)),
        )
        # Its own step may not go back, as ours does after a rollback.
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        self._run.log({**scalars, "step": step})

    def close(self) -> None:
        self._run.finish()


def _tracking_uri(path: Path) -> str | None:
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return None  # MLflow reads the variable itself
    # Files need no server and no database package; MLflow wants to be told that they are meant.
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    return (path / "mlruns").as_uri()


def _kept_id(file: Path, begin: Callable[[], str]) -> str:
    """The id under which the run is known elsewhere, from ``begin`` the first time."""
    if not file.exists():
        file.write_text(begin())
    return file.read_text().strip()


def _settings(path: Path) -> Iterator[tuple[str, Any]]:
    """Every setting of the run by its dotted key."""
    return dotted(yaml.safe_load(read_text(path / "config.yaml")))
