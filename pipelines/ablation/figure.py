"""The figure of a grid: gain over the base model of every method, one panel per test set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from unisd_core.common.files import replace_file
from unisd_core.evaluation.comparison import Comparison
from unisd_core.reporting.page.bars import Dot, forest
from unisd_core.reporting.page.rendering import render


def draw(table: Mapping[str, Sequence[Comparison]], reference: str | None, path: Path) -> None:
    """Draw ``table`` to the SVG file ``path``: dots with 95 % intervals, in points. Equal results
    give equal bytes."""
    title = "Gain over the base model" + (f", beside {reference}" if reference else "")
    panels = {
        name: [_dot(found, reference) for found in comparisons]
        for name, comparisons in table.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    plot = forest(title, "gain in points, 95 % interval", panels, render("figure.css"))
    replace_file(path, f"{plot}\n")


def _dot(found: Comparison, reference: str | None) -> Dot:
    middle, low, high = (
        100 * value for value in (found.gain.difference, found.gain.low, found.gain.high)
    )
    return Dot(found.label, middle, low, high, kind=int(found.label == reference))
