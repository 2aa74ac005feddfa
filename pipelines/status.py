"""One status line while a run trains; a line that rewrites itself on a terminal."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

from unisd_core.config import Config

INTERVAL_S = 2.0
"""Seconds between two looks at the metrics."""


class StatusLine:
    """Follows ``metrics.jsonl`` of a run in a background thread of the driver."""

    def __init__(self, config: Config, run_path: Path) -> None:
        self.steps = config.training.steps
        self.path = run_path / "metrics.jsonl"
        self.began = time.monotonic()
        self.first_step: int | None = None
        self.shown = -1
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> StatusLine:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()
        self._show()
        if sys.stdout.isatty():
            sys.stdout.write("\n")

    def _run(self) -> None:
        while not self._done.wait(INTERVAL_S):
            self._show()

    def _show(self) -> None:
        metrics = _last_line(self.path)
        if metrics is None or metrics["step"] <= self.shown:
            return
        self.shown = metrics["step"]
        if self.first_step is None:
            self.first_step = self.shown - 1
        line = self._render(metrics)
        if sys.stdout.isatty():
            sys.stdout.write("\r\x1b[2K" + line)
        else:
            sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def _render(self, metrics: dict) -> str:
        elapsed = time.monotonic() - self.began
        done = max(1, self.shown - (self.first_step or 0))
        left = elapsed / done * (self.steps - self.shown)
        return (
            f"step {self.shown}/{self.steps}  loss {metrics['loss']:.3f}  "
            f"student log-prob {metrics['student_logprob']:.2f}  "
            f"staleness {metrics['staleness_mean']:.1f}  "
            f"learn {metrics['seconds_learn']:.1f} s  wait {metrics['seconds_wait']:.1f} s  "
            f"{left / 60:.0f} min left"
        )


def _last_line(path: Path) -> dict | None:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return json.loads(lines[-1]) if lines else None
    except (OSError, ValueError):
        # The file does not exist yet, or its last line is being written.
        return None
