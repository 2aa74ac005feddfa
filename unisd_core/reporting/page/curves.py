"""Curves: values over optimizer steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from unisd_core.reporting.page.svg import (
    Scale,
    across,
    colour,
    drawing,
    element,
    figure,
    join,
    number,
    spread,
    upwards,
)

WIDTH, HEIGHT = 540, 250
LEFT, RIGHT, TOP, BOTTOM = 56, 10, 28, 40
MOST_POINTS = 120
"""Of a series; a longer one is drawn by the means of equally many steps."""

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Series:
    """(step, value) pairs, and (step, low, high) where they have intervals."""

    name: str
    points: Points
    band: Sequence[tuple[float, float, float]] = ()


def curves(title: str, unit: str, series: Sequence[Series], note: str = "") -> Markup:
    """A figure of the series that have points; empty where none has."""
    # The place among all, so that a run has one colour in every plot.
    found = [(index, one) for index, one in enumerate(series) if one.points]
    if not found:
        return Markup("")
    most = max(len(one.points) for _, one in found)
    if most > MOST_POINTS:
        note = f"{note} Means over {-(-most // MOST_POINTS)} steps.".strip()
    found = [(index, Series(one.name, thinned(one.points), one.band)) for index, one in found]
    steps = [step for _, one in found for step, _ in one.points]
    values = [value for _, one in found for _, value in one.points]
    values += [bound for _, one in found for _, *bounds in one.band for bound in bounds]
    first, last = min(steps), max(steps)
    pad = 0.5 if first == last else 0
    x = Scale(first - pad, last + pad, LEFT, WIDTH - RIGHT)
    y = Scale(*spread(values), HEIGHT - BOTTOM, TOP)
    plot = drawing(
        WIDTH, HEIGHT, f"{title}: {unit} by optimizer step",
        across(x, HEIGHT - BOTTOM, TOP, "optimizer step", whole=True),
        upwards(y, LEFT, WIDTH - RIGHT, unit),
        *(_drawn(index, one, x, y) for index, one in found),
    )  # fmt: skip
    table = [
        ("series", "step", unit),
        *((one.name, step, value) for _, one in found for step, value in one.points),
    ]
    return figure(title, note, join([legend(found), plot]), table)


def legend(series: Sequence[tuple[int, Series]]) -> Markup:
    """Name and last value of each series; several can be hidden one by one."""
    entries = []
    for index, one in series:
        key = element("i", class_=f"key {colour(index)}", aria_hidden="true")
        words = [key, f" {one.name} ", element("b", number(one.points[-1][1]))]
        if len(series) > 1:
            box = Markup(f'<input type="checkbox" checked class="k{index}">')
            entries.append(element("label", box, *words))
        else:
            entries.append(element("span", *words))
    hint = "last values" + ("; untick to hide" if len(series) > 1 else "")
    return element("p", *entries, class_="legend", title=hint)


def thinned(points: Points, most: int = MOST_POINTS) -> Points:
    """At most ``most`` points, each the mean of as many neighbours."""
    size = -(-len(points) // most)
    if size <= 1:
        return points
    groups = [np.array(points[start : start + size]) for start in range(0, len(points), size)]
    return [(float(group[-1, 0]), float(group[:, 1].mean())) for group in groups]


def _drawn(index: int, series: Series, x: Scale, y: Scale) -> Markup:
    parts = []
    if series.band:
        edge = [(step, high) for step, _, high in series.band]
        edge += [(step, low) for step, low, _ in reversed(series.band)]
        parts.append(element("polygon", points=_path(edge, x, y), class_="band"))
    parts.append(element("polyline", points=_path(series.points, x, y), class_="line"))
    parts += [
        element("circle", element("title", f"{series.name}, step {step:g}: {number(value)}"),
                cx=x(step), cy=y(value), r=2.5)
        for step, value in series.points
    ]  # fmt: skip
    return element("g", *parts, class_=colour(index))


def _path(points: Sequence[tuple[float, float]], x: Scale, y: Scale) -> str:
    return " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points)
