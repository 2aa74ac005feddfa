"""The figure of a grid: gain over the base model of every method, one panel per test set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unisd_core.evaluation.comparison import Comparison

# Equal results give equal bytes; text stays text.
_STYLE = {"svg.hashsalt": "grid", "svg.fonttype": "none", "font.size": 9}


def draw(table: Mapping[str, Sequence[Comparison]], reference: str | None, path: Path) -> None:
    """Draw ``table`` to the SVG file ``path``: dots with 95 % intervals, in points."""
    labels = list(dict.fromkeys(found.label for panel in table.values() for found in panel))
    with matplotlib.rc_context(_STYLE):
        size = 2 + 3 * len(table), 0.9 + 0.25 * len(labels)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(1, len(table), sharey=True, squeeze=False)
        for panel, (name, comparisons) in zip(axes[0], table.items(), strict=True):
            _draw_panel(panel, labels, comparisons, reference)
            panel.set_title(name, fontsize=9)
        axes[0][0].set_yticks(range(len(labels)), labels)
        axes[0][0].set_ylim(len(labels) - 0.5, -0.5)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _draw_panel(
    panel: Axes, labels: Sequence[str], comparisons: Sequence[Comparison], reference: str | None
) -> None:
    panel.axvline(0, color="0.6", linewidth=0.8)
    for found in comparisons:
        y, gain = labels.index(found.label), found.gain
        chosen = found.label == reference
        color = "tab:orange" if chosen else "tab:blue"
        if chosen:
            panel.axvline(100 * gain.difference, color=color, linewidth=0.8, linestyle=":")
        panel.plot([100 * gain.low, 100 * gain.high], [y, y], color=color, linewidth=1.5)
        panel.plot([100 * gain.difference], [y], "o", color=color, markersize=5)
    panel.set_xlabel("gain in points, 95 % interval")
    panel.grid(axis="x", color="0.9")
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
