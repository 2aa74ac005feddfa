"""Evaluation while a run trains: learning curve, early stop, choice of the best weights.

The rows go through the same replicas as the rollouts, so nothing waits for them. Weights may be
replaced while they are answered; the versions that answered are recorded with the accuracy.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from actors.checkpoints import folder as checkpoints
from actors.fleet import Fleet
from actors.generator.completions import as_text, sample
from pipelines.command.console import report
from pipelines.command.follower import Follower
from pipelines.training.setup import RunSetup
from unisd_core.common.errors import UserError, reason
from unisd_core.common.files import atomic_path, json_lines, replace_file
from unisd_core.config.run import Config
from unisd_core.evaluation.held_out import HeldOutSet
from unisd_core.evaluation.outcomes import score_outcomes
from unisd_core.evaluation.scoreboard import score_set

LINES, WEIGHTS = "validation.jsonl", "best.safetensors"


class Validation(Follower):
    """Follows the checkpoints of a run.

    Each evaluation is a line of ``validation.jsonl``; the weights of the best one are kept, see
    ``best_weights``. Does nothing where evaluation.eval_steps is 0.
    """

    interval_s = 1.0

    def __init__(self, setup: RunSetup, fleet: Fleet, run_path: Path) -> None:
        super().__init__()
        self.setup, self.fleet, self.path = setup, fleet, run_path
        self.every = setup.config.evaluation.eval_steps
        self.lines = known_lines(run_path)
        self.seen = self.lines[-1]["step"] if self.lines else 0
        """Step up to which every checkpoint was looked at."""
        self.test_set = setup.validation_set() if self.every else None

    def look(self, at_end: bool) -> None:
        """Evaluate the newest checkpoint where one is due; the last one in any case."""
        if self.test_set is None or self.failed:
            return
        folder = self.path / "checkpoints"
        step = checkpoints.newest_step(folder) or 0
        last = self.seen
        due = step > last if at_end else step // self.every > last // self.every
        found = checkpoints.newest(folder, note=report) if due else None
        # A broken one is looked at once; the one before it has been measured already.
        self.seen = max(last, step if due else 0, found.version if found else 0)
        if found is None or found.version <= last:
            return
        line = self._measure(self.test_set, found.version)
        line["best"] = line["accuracy"] > max((one["accuracy"] for one in self.lines), default=-1)
        if line["best"]:
            _keep_best(self.path, found)
        self.lines.append(line)
        # The whole file: behind a line that a crash cut off, the next one would be lost too.
        replace_file(self.path / LINES, "".join(f"{json.dumps(one)}\n" for one in self.lines))
        self._say(line)
        if not at_end and is_over(self.lines, self.setup.config):
            self.fleet.gate.stop_after_this_step()

    def _measure(self, test_set: HeldOutSet, step: int) -> dict[str, Any]:
        began = time.perf_counter()
        rows, prompts = test_set.rows, test_set.prompts
        settings = self.setup.config.evaluation
        in_flight = self.setup.config.generator.groups_in_flight
        greedy = [self.setup.greedy] * len(prompts)
        answers = list(sample(self.fleet.pool, prompts, greedy, step, in_flight))
        outcomes = score_outcomes(
            self.setup.task,
            rows,
            [[as_text(self.setup.model.chat, answer) for answer in answers]],
        )
        score = score_set(outcomes, None, resamples=settings.bootstrap)
        return {
            "step": step,
            "accuracy": score.accuracy.value,
            "low": score.accuracy.low,
            "high": score.accuracy.high,
            "rows": score.rows,
            "versions": [
                min(answer.version_first for answer in answers),
                max(answer.version_last for answer in answers),
            ],
            "seconds": round(time.perf_counter() - began, 1),
        }

    def _say(self, line: dict[str, Any]) -> None:
        versions = "-".join(str(version) for version in dict.fromkeys(line["versions"]))
        report(
            f"validation at step {line['step']}: {100 * line['accuracy']:.1f} % of {line['rows']} "
            f"rows (answered by version {versions}){', best so far' if line['best'] else ''}"
        )


def best_weights(run_path: Path) -> tuple[int, dict[str, Tensor]]:
    """Step and weights of the best evaluation. Raises UserError where there was none, and where
    its weights cannot be read."""
    best = [line["step"] for line in known_lines(run_path) if line["best"]]
    if not best:
        raise UserError(f"{run_path}: nothing was evaluated yet; set evaluation.select=last")
    try:
        return best[-1], load_file(run_path / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{run_path / WEIGHTS}: cannot be read ({reason(error)}); set evaluation.select=last"
        ) from None


def _keep_best(run_path: Path, found: checkpoints.Checkpoint) -> None:
    with atomic_path(run_path / WEIGHTS) as temporary:
        save_file(found.adapter, temporary)


def known_lines(run_path: Path) -> list[dict[str, Any]]:
    """What was measured so far; a line that a crash cut off is left out."""
    try:
        lines = json_lines(run_path / LINES)
    except OSError as error:
        raise UserError(f"{run_path / LINES}: cannot be read ({reason(error)})") from None
    found = (_measured(line.fields or {}) for line in lines if line.ended)
    return [fields for fields in found if fields is not None]


def _measured(fields: dict[str, Any]) -> dict[str, Any] | None:
    """``fields`` as an evaluation, None where they are none."""
    try:
        if type(fields["step"]) is int and type(fields["best"]) is bool:
            return {**fields, "accuracy": float(fields["accuracy"])}
    except (ValueError, KeyError, TypeError, OverflowError):
        pass
    return None


def is_over(lines: list[dict[str, Any]], config: Config) -> bool:
    """Whether the last evaluation.early_stopping_patience evaluations were all no better than an
    earlier one."""
    patience = config.evaluation.early_stopping_patience
    recent = [line["best"] for line in lines[-patience:]]
    return 0 < patience < len(lines) and not any(recent)
