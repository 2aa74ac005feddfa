"""Checkpoint writer: writes checkpoints in the background while the learner trains."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

from actors.checkpoints import folder as checkpoints
from actors.checkpoints.folder import Checkpoint
from actors.checkpoints.mirror import fetch_missing, mirror_of
from unisd_core.common.errors import UserError, reason
from unisd_core.config.run import Config


class CheckpointWriter:
    """Writes one checkpoint at a time, to the run's folder and then to the mirror, in a thread.

    The next call of ``wait`` or ``submit`` raises the error of a write that failed.
    """

    def __init__(self, config: Config, run_path: Path) -> None:
        self.folder = run_path / "checkpoints"
        self._keep = config.training.save_total_limit
        self._mirror = mirror_of(config)
        self._thread: Thread | None = None
        self._error: Exception | None = None

    def fetch_missing(self) -> None:
        """Copy the mirror's newest checkpoint into the run's folder when that has none."""
        if self._mirror is not None:
            fetch_missing(self.folder, self._mirror)

    def submit(self, checkpoint: Checkpoint) -> None:
        """Begin to write ``checkpoint`` once the write before it has ended. Its tensors must not
        change any more."""
        self.wait()
        # A daemon: what a torn write leaves is harmless, a process that hangs at its end is not.
        self._thread = Thread(
            target=self._write, args=(checkpoint,), name="checkpoint", daemon=True
        )
        self._thread.start()

    def wait(self) -> None:
        """Return when no write is under way. Raises the error of the last write, once."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _write(self, checkpoint: Checkpoint) -> None:
        try:
            path = checkpoints.save(self.folder, checkpoint, self._keep)
            if self._mirror is not None:
                self._mirror.put(path, self._keep)
        except UserError as error:
            self._error = error
        except Exception as error:
            failure = RuntimeError(
                f"the checkpoint of step {checkpoint.version} was not written: {reason(error)}"
            )
            failure.__cause__ = error
            self._error = failure
