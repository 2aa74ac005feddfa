"""Escaped markup, and the axes that all plots share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

COLOURS = 8
"""Classes c0 to c7 of the style sheet; further series repeat them with dashes, then with dots."""


def element(tag: str, *children: object, **attributes: object) -> Markup:
    """An element with its attributes and children escaped; ``class_`` is written class, and
    ``text_anchor`` text-anchor. Attributes that are None are left out."""
    words = [
        f' {name.rstrip("_").replace("_", "-")}="{escape(_short(value))}"'
        for name, value in attributes.items()
        if value is not None
    ]
    return Markup(f"<{tag}{''.join(words)}>{join(children)}</{tag}>")


def join(parts: Iterable[object]) -> Markup:
    """The parts one after the other, escaped where they are no markup."""
    return Markup("").join(escape(part) for part in parts)


def text(x: float, y: float, words: object, anchor: str = "start", class_: str = "") -> Markup:
    """A line of text whose baseline begins, is centred or ends at (x, y)."""
    return element("text", words, x=x, y=y, text_anchor=anchor, class_=class_ or None)


def drawing(
    width: float, height: float, name: str, *children: object, **attributes: object
) -> Markup:
    """An svg that a reader of the screen announces as ``name``; its text can be selected."""
    return element(
        "svg", element("title", name), *children,
        viewBox=f"0 0 {width:g} {height:g}", width=width, role="group", aria_label=name,
        **attributes,
    )  # fmt: skip


def colour(index: int) -> str:
    """Classes of the index-th series: its colour, its dashes, its place in the legend."""
    kind = ("", " dashed", " dotted")[min(index // COLOURS, 2)]
    return f"g{index} c{index % COLOURS}{kind}"


def figure(title: str, note: str, plot: Markup, table: Sequence[Sequence[object]]) -> Markup:
    """A plot with its heading and, folded away, the numbers behind it; the table's first row is its
    head."""
    head, *rows = table
    cells = join(element("tr", *(element("td", number(cell)) for cell in row)) for row in rows)
    names = element("tr", *(element("th", name, scope="col") for name in head))
    numbers = element("table", element("thead", names), element("tbody", cells))
    return element(
        "figure",
        element("figcaption", element("h3", title), element("p", note) if note else ""),
        element("div", plot, class_="plot"),
        element(
            "details",
            element("summary", "Numbers"),
            element("div", numbers, class_="scroll", tabindex="0", role="region", aria_label=title),
        ),
    )


def number(value: object) -> object:
    """Short form of a number; anything else as it is."""
    if value is None:
        return "–"
    if not isinstance(value, float):
        return value
    if value and (abs(value) < 1e-3 or abs(value) >= 1e5):
        return f"{value:.2e}"
    return f"{value:.4g}"


@dataclass(frozen=True)
class Scale:
    """Maps [low, high] to pixels [start, end]."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """About ``count`` round values inside."""
        step = _round_step((self.high - self.low) / count)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(place * step, 12) + 0.0 for place in range(first, last + 1)]


def spread(values: Sequence[float], around_zero: bool = False) -> tuple[float, float]:
    """Limits of an axis that shows ``values`` with some room; from 0 where that costs little."""
    low, high = min(values), max(values)
    if around_zero:
        low, high = min(low, 0), max(high, 0)
    size = max(abs(low), abs(high))
    # What differs by rounding alone is shown as equal.
    equal = high - low <= 1e-6 * size
    room = (0.1 * size or 1.0) if equal else 0.06 * (high - low)
    starts_at_zero = 0 <= low < 0.4 * high
    ends_at_zero = 0 >= high > 0.4 * low
    return (0 if starts_at_zero else low - room), (0 if ends_at_zero else high + room)


def across(scale: Scale, y: float, top: float, unit: str, whole: bool = False) -> Markup:
    """The horizontal axis at height ``y`` with grid lines up to ``top`` and its unit below."""
    ticks = [tick for tick in scale.ticks(7) if not whole or tick == int(tick)]
    parts = [
        element("line", x1=scale(tick), x2=scale(tick), y1=top, y2=y, class_="grid")
        for tick in ticks
    ]
    parts += [text(scale(tick), y + 16, f"{tick:g}", "middle", "tick") for tick in ticks]
    parts.append(text((scale.start + scale.end) / 2, y + 33, unit, "middle", "unit"))
    return join(parts)


def upwards(scale: Scale, x: float, right: float, unit: str, whole: bool = False) -> Markup:
    """The vertical axis at ``x`` with grid lines to ``right`` and its unit above."""
    ticks = [tick for tick in scale.ticks() if not whole or tick == int(tick)]
    parts = [
        element("line", x1=x, x2=right, y1=scale(tick), y2=scale(tick), class_="grid")
        for tick in ticks
    ]
    parts += [text(x - 6, scale(tick) + 4, f"{tick:g}", "end", "tick") for tick in ticks]
    parts.append(text(2, scale.end - 12, unit, "start", "unit"))
    return join(parts)


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return min(
        (factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * 0.999),
        default=10 * power,
    )


def _short(value: object) -> str:
    """Pixels to a tenth."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
