"""Files of a run's folder, as far as they can be read.

A run may still be going on, have been killed, or be of an older release: torn lines are left out,
and what is missing or of another form is None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from unisd_core.common.errors import UserError
from unisd_core.common.files import JsonLine, json_lines
from unisd_core.common.user_text import MARK
from unisd_core.config.base import FrozenModel, dotted
from unisd_core.config.load import read_mapping
from unisd_core.config.run import Config
from unisd_core.evaluation.outcomes import read_outcomes
from unisd_core.evaluation.scoreboard import Estimate, score_set
from unisd_core.reporting.page.secrets import without_secrets
from unisd_core.reporting.summary import AccuracyChange, LedgerCounts, Seconds, Staleness

Found = TypeVar("Found", bound=FrozenModel)
Line = dict[str, Any]


@dataclass(frozen=True)
class TestSet:
    """Accuracy on one test set; ``change`` is None until the run has finished."""

    name: str
    rows: int
    before: Estimate | None
    after: Estimate | None
    change: AccuracyChange | None


@dataclass(frozen=True)
class RunRecord:
    """One run. ``settings`` are dotted keys with their values, ``metrics`` the lines by step."""

    path: Path
    name: str
    settings: dict[str, Any]
    metrics: list[Line]
    validation: list[Line]
    incidents: list[Line]
    test_sets: list[TestSet]
    ledger: LedgerCounts | None
    staleness: Staleness | None
    seconds: Seconds | None
    tokens_per_second: dict[str, float]
    finished: bool
    torn: int
    """Lines that could not be read."""

    @property
    def step(self) -> int:
        """The last step there is a line of."""
        return int(self.metrics[-1]["step"]) if self.metrics else 0

    def numbers(self, key: str) -> list[tuple[float, float]]:
        """(step, value) of every line that has a finite number under ``key``."""
        return [
            (line["step"], float(line[key])) for line in self.metrics if is_number(line.get(key))
        ]


def read_run(path: Path) -> RunRecord:
    """The run in the folder ``path``. Raises UserError where it holds no readable config.yaml."""
    if not (path / "config.yaml").is_file():
        raise UserError(f"{path}: holds no config.yaml, so it is no run; give a folder of runs/")
    settings = {
        key: without_secrets(value)
        for key, value in dotted(read_mapping(path / "config.yaml", "run"))
    }
    lines = {
        name: _lines(path / f"{name}.jsonl") for name in ("metrics", "validation", "incidents")
    }
    metrics, validation = (
        sorted(
            {line["step"]: line for line in lines[name] if line and is_number(line.get("step"))}
            .values(),
            key=lambda line: line["step"],
        )
        for name in ("metrics", "validation")
    )  # fmt: skip
    summary = _summary(path / "summary.json")
    rates = summary.get("tokens_per_second")
    return RunRecord(
        path=path,
        name=str(settings.get("name") or path.resolve().name),
        settings=settings,
        metrics=metrics,
        validation=[line for line in validation if is_number(line.get("accuracy"))],
        incidents=[
            {**line, "what": without_secrets(line.get("what"))}
            for line in lines["incidents"]
            if line and is_number(line.get("unix_time"))
        ],
        test_sets=_test_sets(path / "evaluation", summary),
        ledger=_parsed(LedgerCounts, summary.get("ledger")),
        staleness=_parsed(Staleness, summary.get("staleness")),
        seconds=_parsed(Seconds, summary.get("seconds")),
        tokens_per_second={
            str(stage): float(rate)
            for stage, rate in (rates.items() if isinstance(rates, dict) else ())
            if is_number(rate)
        },
        finished=bool(summary),
        torn=sum(line is None for found in lines.values() for line in found),
    )


def changed_settings(settings: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Value and default of every setting that is not at its default."""
    defaults = dict(dotted(Config().model_dump(mode="json")))
    return {
        key: (value, defaults.get(key))
        for key, value in settings.items()
        if key not in defaults or defaults[key] != value
    }


def is_number(value: object) -> bool:
    """Whether ``value`` can be drawn."""
    try:
        return (
            isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        )
    except OverflowError:  # a whole number that no float holds
        return False


def _lines(path: Path) -> list[Line | None]:
    """The objects in a file of JSON lines; None for a line that is none."""
    try:
        return [line.fields for line in json_lines(path) if line.text.strip()]
    except OSError:
        return []


def _summary(path: Path) -> Line:
    try:
        return JsonLine(path.read_bytes().removeprefix(MARK)).fields or {}
    except OSError:
        return {}


def _parsed(kind: type[Found], value: object) -> Found | None:
    try:
        return kind.model_validate(value)
    except ValidationError:
        return None


def _test_sets(folder: Path, summary: Line) -> list[TestSet]:
    known = summary.get("accuracy")
    changes = known if isinstance(known, dict) else {}
    names = [*changes, *(path.stem.removeprefix("base-") for path in sorted(folder.glob("base-*")))]
    found = []
    for name in dict.fromkeys(map(str, names)):
        change = _parsed(AccuracyChange, changes.get(name))
        rows, before = _accuracy(folder / f"base-{name}.parquet")
        _, after = _accuracy(folder / f"final-{name}.parquet")
        if change is not None:
            rows = change.rows
        if rows:
            found.append(TestSet(name, rows, before, after, change))
    return found


def _accuracy(path: Path) -> tuple[int, Estimate | None]:
    try:
        score = score_set(read_outcomes(path), None)
    except UserError:
        return 0, None
    return score.rows, score.accuracy
