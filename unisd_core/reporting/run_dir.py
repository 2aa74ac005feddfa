"""The folder of one run: configuration, metrics, trajectories, summary; and copies of its numbers.

The folder belongs to one configuration. ``metrics.jsonl`` never holds a step twice, and a
reader never sees half of a file that is replaced.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unisd_core.common.errors import UserError
from unisd_core.common.files import atomic_path, json_lines, replace_file
from unisd_core.config.load import changed_keys, dump_config
from unisd_core.config.run import Config, OutputsConfig
from unisd_core.reporting.sinks import Sinks, check_sinks

logger = logging.getLogger(__name__)

MAY_CHANGE = (
    "evaluation.bootstrap", "evaluation.require", "evaluation.teacher_rows", "generator.",
    "learner.", "objective.chunk_tokens", "output", "scorer.", "training.checkpoint_mirror",
    "training.max_bad_batches", "training.max_restarts", "training.micro_batch_tokens",
    "training.max_steps", "training.save_", "training.skip_grad_norm", "training.stop",
    "training.stream",
)  # fmt: skip
"""Prefixes of the keys with which a run may be resumed under other values: they change how long it
is and what it runs on, not what was trained so far."""


class RunDir:
    """Writes the files of the run in ``path``; ``outputs`` says which of the optional ones.

    Can be opened by any process of the run and pickled until the first ``log``; the driver
    calls ``create`` first.
    """

    def __init__(self, path: Path, outputs: OutputsConfig) -> None:
        self.path = path
        self._outputs = outputs
        self._sinks: Sinks | None = None
        self._purge_step: int | None = None

    @classmethod
    def create(cls, config: Config, *, resume: bool = False) -> RunDir:
        """Open ``<output_dir>/<name>`` for a run of ``config`` and write ``config.yaml``.

        An unfinished run of the same configuration is continued. Raises UserError for the
        folder of a finished run or of another configuration unless ``resume``, for settings that
        cannot change within a run even then, for a folder that is not a run's, and for outputs
        whose package is missing.
        """
        check_sinks(config.outputs)
        path = (Path(config.output_dir) / config.name).resolve()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{path}: cannot be created ({error.strerror}); set output_dir=..."
            ) from None
        _check_owner(path, config, resume)
        replace_file(path / "config.yaml", dump_config(config))
        return cls(path, config.outputs)

    def resume_from(self, step: int) -> None:
        """Forget what was recorded after ``step``, the last step of the checkpoint.

        Drops later metrics lines, events and trajectory files, and the summary. Call before
        the first ``log``.
        """
        self._purge_step = step + 1
        (self.path / "summary.json").unlink(missing_ok=True)
        metrics = self.path / "metrics.jsonl"
        lines = json_lines(metrics)
        if lines:
            kept = [line.text.decode() for line in lines if _step(line.fields) <= step]
            replace_file(metrics, "".join(f"{text}\n" for text in kept))
        for torn in (self.path / "trajectories").glob(".step-*.tmp"):
            torn.unlink()
        for part in (self.path / "trajectories").glob("step-*.parquet"):
            number = part.name.split("-")[1]
            if number.isdecimal() and int(number) > step and part.is_file():
                part.unlink()

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Append one line with ``step``, the Unix time and ``metrics`` to ``metrics.jsonl``.

        Numbers that are not finite are written as null. Finite scalars also go to the sinks that
        the outputs name.
        """
        line = _plain({"step": step, "unix_time": round(time.time(), 3), **metrics})
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
        if self._sinks is None:
            self._sinks = Sinks(self.path, self._outputs, self._purge_step)
        values = {name: line[name] for name in metrics}
        scalars = {
            name: float(value) for name, value in values.items() if isinstance(value, (int, float))
        }
        self._sinks.log(step, scalars)

    def write_trajectories(self, step: int, table: pa.Table, part: int = 0) -> None:
        """Write the rows trained on in ``step`` as one Parquet file (zstd); ``part`` tells the
        files of one step apart. Does nothing unless outputs.trajectories is set."""
        if not self._outputs.trajectories:
            return
        folder = self.path / "trajectories"
        folder.mkdir(exist_ok=True)
        with atomic_path(folder / f"step-{step:06d}-part-{part}.parquet") as temporary:
            pq.write_table(table, temporary, compression="zstd")

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write ``summary.json`` atomically, which marks the run as finished."""
        replace_file(
            self.path / "summary.json",
            json.dumps(_plain(summary), indent=2, allow_nan=False) + "\n",
        )

    def close(self) -> None:
        """Hand over the numbers of the last seconds and close the sinks."""
        if self._sinks is not None:
            self._sinks.close()
            self._sinks = None


def _check_owner(path: Path, config: Config, resume: bool) -> None:
    advice = "choose another name=... or continue it with --resume"
    file = path / "config.yaml"
    if not any(path.iterdir()):
        return
    if not file.exists():
        raise UserError(f"{path}: holds files but no config.yaml, so it is no run; set name=...")
    if not resume and (path / "summary.json").exists():
        raise UserError(f"{path}: this run is finished; {advice}")
    try:
        before = Config.from_saved(file)
    except UserError as error:
        if resume:
            raise
        raise UserError(f"{error}; {advice}") from None
    changed = changed_keys(before, config)
    if changed and not resume:
        raise UserError(f"{path}: holds a run with another {changed[0]}; {advice}")
    fixed = [key for key in changed if not key.startswith(MAY_CHANGE)]
    if fixed:
        raise UserError(
            f"{path}: {', '.join(fixed)} cannot change within a run; choose another name=..."
        )
    if changed:
        logger.warning("%s is resumed with other values of %s", path, ", ".join(changed))


def _step(fields: Mapping[str, Any] | None) -> float:
    """Step of a metrics line; infinite for a line that a killed writer left incomplete."""
    try:
        return float((fields or {})["step"])
    except (ValueError, KeyError, TypeError, OverflowError):
        return math.inf


def _plain(value: Any) -> Any:
    """``value`` as JSON can hold it: array scalars unwrapped, non-finite numbers as None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
