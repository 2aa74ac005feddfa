"""Bars: counts as bars, and estimates as dots with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    text,
    upwards,
)

WIDTH, HEIGHT = 540, 220
LEFT, RIGHT, TOP, BOTTOM = 56, 10, 26, 40
ROW = 26


@dataclass(frozen=True)
class Bar:
    """``value`` over [low, high) of the axis, called ``name`` in text."""

    low: float
    high: float
    value: float
    name: str


def histogram(
    title: str, axis: str, unit: str, bars: Sequence[Bar], note: str = "", whole: bool = False
) -> Markup:
    """A figure of bars beside each other, of ``whole`` numbers; empty where there are none."""
    if not bars:
        return Markup("")
    x = Scale(bars[0].low, bars[-1].high, LEFT, WIDTH - RIGHT)
    top = max(bar.value for bar in bars) or 1
    y = Scale(0, 1.05 * top, HEIGHT - BOTTOM, TOP)
    drawn = [
        element("rect", element("title", f"{bar.name}: {bar.value:g} {unit}"), x=x(bar.low) + 0.5,
                y=y(bar.value), width=max(1.0, x(bar.high) - x(bar.low) - 1),
                height=y(0) - y(bar.value), class_="bar")
        for bar in bars
    ]  # fmt: skip
    plot = drawing(
        WIDTH, HEIGHT, f"{title}: {unit} by {axis}",
        upwards(y, LEFT, WIDTH - RIGHT, unit, whole=True),
        across(x, HEIGHT - BOTTOM, HEIGHT - BOTTOM, axis, whole),
        element("g", *drawn, class_=colour(0)),
    )  # fmt: skip
    table = [(axis, unit), *((bar.name, bar.value) for bar in bars)]
    return figure(title, note, plot, table)


@dataclass(frozen=True)
class Dot:
    """One estimate in the row ``label``; ``kind`` is its colour, ``words`` stand at its right."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    kind: int = 0
    words: str = ""


def intervals(
    title: str,
    unit: str,
    dots: Sequence[Dot],
    note: str = "",
    limits: tuple[float, float] | None = None,
    length: float = 400,
) -> Markup:
    """A figure with a row for each label; without ``limits`` the axis holds 0, and it is
    ``length`` wide."""
    if not dots:
        return Markup("")
    labels = list(dict.fromkeys(dot.label for dot in dots))
    left = min(260, 20 + 7 * max(map(len, labels)))
    right = 20 + 7 * max(len(dot.words) for dot in dots)
    width = left + right + length
    x = Scale(*(limits or _bounds(dots)), left, width - right)
    parts = [*_names(labels, left), *_panel(dots, labels, x, unit)]
    table = [
        ("", unit, "low", "high"),
        *((f"{dot.label} {dot.words}".strip(), dot.value, dot.low, dot.high) for dot in dots),
    ]
    return figure(title, note, drawing(width, _bottom(labels) + 40, title, *parts), table)


def forest(
    title: str, unit: str, panels: Mapping[str, Sequence[Dot]], style: str, length: float = 300
) -> Markup:
    """The estimates of several ``panels`` beside each other, a row for each label, as an svg file
    of its own; a line goes down from each dot of kind 1, to compare the others with."""
    labels = list(dict.fromkeys(dot.label for dots in panels.values() for dot in dots))
    left = 28 + 7 * max(map(len, labels), default=0)
    parts = _names(labels, left - 8)
    for place, (name, dots) in enumerate(panels.items()):
        start = left + place * (length + 28)
        x = Scale(*_bounds(dots), start, start + length)
        parts.append(text(start + length / 2, TOP - 12, name, "middle", "label"))
        parts += [
            element("line", x1=x(dot.value), x2=x(dot.value), y1=TOP - 8, y2=_bottom(labels),
                    class_=f"beside {colour(dot.kind)}")
            for dot in dots if dot.kind == 1
        ]  # fmt: skip
        parts += _panel(dots, labels, x, unit)
    width, height = left + len(panels) * (length + 28), _bottom(labels) + 44
    back = element("rect", width=width, height=height, class_="back")
    styled = (element("style", Markup(style)), back, *parts)
    return drawing(width, height, title, *styled, xmlns="http://www.w3.org/2000/svg")


def _bottom(labels: Sequence[str]) -> float:
    return TOP + ROW * len(labels)


def _bounds(dots: Sequence[Dot]) -> tuple[float, float]:
    found = [end for dot in dots for end in (dot.value, dot.low, dot.high) if end is not None]
    return spread(found, around_zero=True)


def _names(labels: Sequence[str], left: float) -> list[Markup]:
    shown = [label if len(label) <= 36 else f"{label[:35]}…" for label in labels]
    return [
        text(left - 8, TOP + ROW * (place + 0.5) + 4, label, "end", "label")
        for place, label in enumerate(shown)
    ]


def _panel(dots: Sequence[Dot], labels: Sequence[str], x: Scale, unit: str) -> list[Markup]:
    bottom = _bottom(labels)
    parts = [across(x, bottom, TOP - 8, unit)]
    if x.low < 0 < x.high:
        parts.append(element("line", x1=x(0), x2=x(0), y1=TOP - 8, y2=bottom, class_="zero"))
    return parts + [_dot(dot, x, TOP + ROW * (labels.index(dot.label) + 0.5)) for dot in dots]


def _dot(dot: Dot, x: Scale, y: float) -> Markup:
    name = f"{dot.label}: {number(dot.value)}"
    parts: list[Markup] = []
    if dot.low is not None and dot.high is not None:
        name += f", 95 % interval {number(dot.low)} to {number(dot.high)}"
        parts.append(element("line", x1=x(dot.low), x2=x(dot.high), y1=y, y2=y, class_="whisker"))
    parts.append(element("circle", element("title", name), cx=x(dot.value), cy=y, r=5))
    if dot.words:
        parts.append(text(x.end + 10, y + 4, dot.words, "start", "label"))
    return element("g", *parts, class_=f"dot {colour(dot.kind)}")


def shares(title: str, parts: Sequence[tuple[str, int]]) -> Markup:
    """One bar cut into ``parts`` (name, count), with a legend that has the numbers."""
    total = sum(count for _, count in parts)
    if not total:
        return Markup("")
    width, x, drawn = 1100.0, 0.0, []
    for index, (name, count) in enumerate(parts):
        length = width * count / total
        if count:
            drawn.append(
                element("rect", element("title", f"{name}: {count}"), x=x, y=0, height=22,
                        width=max(1.0, length - 1), class_=f"bar {colour(index)}")
            )  # fmt: skip
        x += length
    keys = [
        element("span", element("i", class_=f"key {colour(index)}", aria_hidden="true"),
                f" {name} ", element("b", f"{count:,}"))
        for index, (name, count) in enumerate(parts)
    ]  # fmt: skip
    return join([drawing(width, 22, title, *drawn), element("p", *keys, class_="legend")])
