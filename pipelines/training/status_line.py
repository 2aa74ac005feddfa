"""One status line while a run trains; a line that rewrites itself on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.command.follower import Follower
from unisd_core.common.files import json_lines
from unisd_core.config.run import Config


class StatusLine(Follower):
    """Follows ``metrics.jsonl`` of a run."""

    interval_s = 2.0

    def __init__(self, config: Config, run_path: Path) -> None:
        super().__init__()
        self.steps = config.training.max_steps
        self.path = run_path / "metrics.jsonl"
        self.began = time.time()
        self.first_step: int | None = None
        self.shown = -1

    def look(self, at_end: bool) -> None:
        """Show the newest step; the line stays when the run has ended."""
        self._show()
        if at_end and sys.stdout.isatty():
            sys.stdout.write("\n")

    def _show(self) -> None:
        metrics = last_line(self.path)
        if metrics is None or metrics["step"] <= self.shown:
            return
        if metrics["unix_time"] < self.began:  # of an earlier start; may not have been saved
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

    def _render(self, metrics: Mapping[str, Any]) -> str:
        elapsed = time.time() - self.began
        done = max(1, self.shown - (self.first_step or 0))
        left = elapsed / done * (self.steps - self.shown)
        return (
            f"step {self.shown}/{self.steps}  loss {metrics['loss']:.3f}  "
            f"student log-prob {metrics['student_logprob']:.2f}  "
            f"staleness {metrics['staleness_mean']:.1f}  "
            f"learn {metrics['seconds_learn']:.1f} s  wait {metrics['seconds_wait']:.1f} s  "
            f"{left / 60:.0f} min left"
        )


def last_line(path: Path) -> dict[str, Any] | None:
    """The newest line; None where there is none, or while it is being written."""
    try:
        lines = json_lines(path)
    except OSError:
        return None
    return lines[-1].fields if lines else None
