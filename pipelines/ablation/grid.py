"""Reads a grid: which presets are run on a task, with which seeds and settings in common.

A value of a setting means the same as on the command line. Imports no torch.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from unisd_core.common.errors import UserError, shorten
from unisd_core.config.base import FrozenModel, dotted
from unisd_core.config.load import find_named, read_mapping
from unisd_core.config.renamed_keys import OLD_NAMES, renamed
from unisd_core.config.run import Config

GRIDS_DIR = Path(__file__).parents[1] / "grids"

RESOURCES = ("generator", "scorer", "learner")
"""Sections that say what a run uses, not what it trains."""


class _Entry(FrozenModel):
    preset: str
    seeds: list[int] = Field(min_length=1)
    settings: dict[str, Any] = {}
    label: str | None = None


class _GridFile(FrozenModel):
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    task: str
    common: dict[str, Any] = {}
    runs: list[_Entry] = Field(min_length=1)


@dataclass(frozen=True)
class Cell:
    """One run of a grid."""

    label: str
    preset: str
    config: Config
    overrides: tuple[str, ...]
    """What turns the preset into ``config``, as on the command line."""

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.config.name

    @property
    def folder(self) -> Path:
        """Where the run keeps its files."""
        return Path(self.config.output_dir) / self.config.name

    @property
    def key(self) -> str:
        """Digest of the settings that decide what is trained; see ``training_key``."""
        return training_key(self.config)


@dataclass(frozen=True)
class Grid:
    """The cells of a grid in the order in which they are run."""

    name: str
    cells: tuple[Cell, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in the order of the file."""
        return tuple(dict.fromkeys(cell.label for cell in self.cells))

    def only(self, labels: Sequence[str]) -> Grid:
        """The cells of these labels. Raises UserError for a label the grid does not have."""
        for label in labels:
            self.check_label(label, "--only")
        return Grid(self.name, tuple(cell for cell in self.cells if cell.label in labels))

    def check_label(self, label: str, option: str) -> None:
        """Raise UserError, naming ``option``, for a label the grid does not have."""
        if label in self.labels:
            return
        close = difflib.get_close_matches(label, self.labels, n=1)
        advice = f"did you mean {close[0]}?" if close else f"it has {', '.join(self.labels)}"
        raise UserError(f"{option} {label}: no such run in grid {self.name}; {advice}")


def training_key(config: Config) -> str:
    """SHA-256 of the settings that differ from their defaults, but for the run's name, its folder
    and its resources.

    A setting that is added later, with a default that leaves runs as they were, does not change
    the key, nor does one that is renamed, which counts under its old name. Whoever changes a
    default has to start the results anew.
    """
    kept = config.model_dump(
        mode="json", exclude={"name", "output_dir", *RESOURCES}, exclude_defaults=True
    )
    kept = renamed(kept, OLD_NAMES)
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def load_grid(
    grid: str, overrides: Sequence[str], presets_dir: Path, grids_dir: Path = GRIDS_DIR
) -> Grid:
    """Resolve every cell of ``grid``, a name in ``grids_dir`` or a path to a YAML file.

    A cell is its preset, then ``common``, then its own ``settings``, then ``overrides``, later
    ones winning. All entries' first seeds come first, then their second seeds, so that an
    unfinished grid already compares every method. Raises UserError, naming the file and the key,
    for unknown keys, for settings no run would take and for two runs of one name.
    """
    path = find_named("grid", grid, grids_dir)
    parsed = _parse(path)
    for override in overrides:
        key = override.partition("=")[0]
        if key in ("name", "seed", "task"):
            raise UserError(f"{override}: the grid sets {key} itself; change {path} instead")
    most = max(len(entry.seeds) for entry in parsed.runs)
    cells = [
        _cell(path, parsed, entry, entry.seeds[turn], overrides, presets_dir)
        for turn in range(most)
        for entry in parsed.runs
        if turn < len(entry.seeds)
    ]
    names = [cell.name for cell in cells]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{path}: two runs are named {name}; give one of them a label")
    return Grid(parsed.name, tuple(cells))


def _cell(
    path: Path,
    grid: _GridFile,
    entry: _Entry,
    seed: int,
    overrides: Sequence[str],
    presets_dir: Path,
) -> Cell:
    label = entry.label or entry.preset.replace("/", "-")
    settings = [
        f"task={grid.task}",
        f"output_dir=runs/{grid.name}",
        *_overrides(grid.common),
        *_overrides(entry.settings),
        *overrides,
        f"seed={seed}",
        f"name={label}-s{seed}",
    ]
    # Where a key is set several times, the last one counts.
    last = {setting.partition("=")[0]: setting for setting in settings}
    chosen = tuple(last.values())
    try:
        config = Config.from_preset(entry.preset, chosen, presets_dir)
    except UserError as error:
        raise UserError(f"{path}: {shorten(label)}: {error}") from None
    return Cell(label, entry.preset, config, chosen)


def _overrides(settings: Mapping[str, Any]) -> list[str]:
    return [
        f"{key}={value if isinstance(value, str) else json.dumps(value, default=str)}"
        for key, value in dotted(settings)
    ]


def _parse(path: Path) -> _GridFile:
    try:
        return _GridFile.model_validate(read_mapping(path, "grid"))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        known = _Entry if "runs" in first["loc"] else _GridFile
        reason = {
            "extra_forbidden": f"is no key here; known are {', '.join(known.model_fields)}",
            "missing": "is missing",
        }.get(first["type"], f"is wrong ({first['msg']})")
        raise UserError(f"{path}: {key} {reason}") from None
