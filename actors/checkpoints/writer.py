"""Writes checkpoints beside the training: the learner goes on while the files are written."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

from actors.checkpoints import folder as checkpoints
from actors.checkpoints.folder import Checkpoint
from actors.checkpoints.mirror import fetch_missing, mirror_of
from unisd_core.common.errors import UserError, reason
from unisd_core.config.run import Config


class CheckpointWriter:
    """One write at a time in a background thread, to the run's folder and then to the mirror.

    A write that failed is raised by the next call of ``wait`` or ``submit``.
    """

    def __init__(self, config: Config, run_path: Path) -> None:
        self.folder = run_path / "checkpoints"
        self._keep = config.training.save_total_limit
        self._mirror = mirror_of(config)
        self._thread: Thread | None = None
        self._error: Exception | None = None

    def fetch_missing(self) -> None:
        """Let the run's folder hold the mirror's newest checkpoint where it has none itself."""
        if self._mirror is not None:
            fetch_missing(self.folder, self._mirror)

    def submit(self, checkpoint: Checkpoint) -> None:
        """Begin to write ``checkpoint``, whose tensors nobody may change any more, once the write
        before it has ended."""
        self.wait()
        # A daemon: what a torn write leaves is harmless, a process that hangs at its end is not.
        self._thread = Thread(
            target=self._write, args=(checkpoint,), name="checkpoint", daemon=True
        )
        self._thread.start()

    def wait(self) -> None:
        """Return when nothing is being written. Raises the error of the last write, once."""
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
