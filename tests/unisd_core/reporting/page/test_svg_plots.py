"""Plots hold what they are given, whatever the numbers."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unisd_core.reporting.page.bars import Bar, Dot, forest, histogram, intervals, shares
from unisd_core.reporting.page.curves import MOST_POINTS, Series, curves, thinned
from unisd_core.reporting.page.rendering import render
from unisd_core.reporting.page.svg import Scale, element, figure, spread

VALUES = st.floats(-1e12, 1e12)
HOSTILE = "\"><script>alert(1)</script>'&"


def drawn(markup: str) -> ElementTree.Element:
    """The markup, which must be well formed and draw at finite places."""
    assert not re.search(r'="(nan|-?inf)', markup)
    boxes = markup.replace('<input type="checkbox" checked ', '<input type="checkbox" ')
    return ElementTree.fromstring(re.sub(r"(<input[^>]*)>", r"\1/>", boxes))


@given(st.dictionaries(st.integers(0, 10**6), VALUES, min_size=1, max_size=20))
def test_a_curve_has_a_dot_for_each_point(points):
    root = drawn(curves("Loss", "nats", [Series("loss", sorted(points.items()))]))
    assert len(root.findall(".//circle")) == len(points)
    assert len(root.findall(".//tbody/tr")) == len(points)


@given(st.lists(VALUES, min_size=1, max_size=8))
def test_an_axis_holds_its_values_and_round_ticks(values):
    low, high = spread(values)
    assert low <= min(values) and max(values) <= high and low < high
    ticks = Scale(low, high, 0, 100).ticks()
    assert 1 <= len(ticks) <= 12


def test_a_long_curve_is_drawn_by_means():
    points = [(float(step), float(step % 2)) for step in range(10 * MOST_POINTS)]
    found = thinned(points)
    assert len(found) == MOST_POINTS
    assert {value for _, value in found} == {0.5}
    assert "Means over 10 steps." in curves("Loss", "nats", [Series("loss", points)])


def test_a_series_keeps_its_colour_where_another_has_no_points():
    both = [Series("a", []), Series("b", [(1, 2.0)])]
    assert "g1 c1" in curves("Loss", "nats", both)
    assert curves("Loss", "nats", both[:1]) == ""


@given(st.lists(st.tuples(VALUES, VALUES, VALUES).map(sorted), min_size=1, max_size=5))
def test_each_estimate_has_a_dot_and_its_interval(found):
    dots = [Dot(str(n), value, low, high) for n, (low, value, high) in enumerate(found)]
    root = drawn(intervals("Gain", "points", dots))
    assert len(root.findall(".//circle")) == len(dots)
    assert len([one for one in root.iter("line") if one.get("class") == "whisker"]) == len(dots)


def test_a_forest_is_a_file_of_its_own_for_light_and_dark():
    chosen = Dot("b & c", 3.0, 2.0, 4.0, kind=1)
    panels = {"seen": [Dot("a", 1.0, 0.0, 2.0), chosen], "unseen": [chosen]}
    plot = str(forest("Gain", "points", panels, render("figure.css")))
    root = drawn(plot)
    svg = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{svg}svg" and root.get("viewBox")
    assert len(root.findall(f".//{svg}circle")) == 3
    lines = [one.get("class") for one in root.iter(f"{svg}line")]
    assert lines.count("whisker") == 3 and lines.count("beside g1 c1") == 2
    texts = [one.text for one in root.findall(f"{svg}text")]
    assert texts.count("b & c") == 1 and {"seen", "unseen"} <= set(texts)
    style = root.findtext(f"{svg}style") or ""
    light, dark = style.split("prefers-color-scheme:dark")
    for rule in ("text{fill", ".back{fill", ".grid{stroke", ".c1 circle{fill"):
        assert rule in light and rule in dark
    # Renderers other than browsers know no variables, and nothing is loaded from elsewhere.
    assert "var(" not in plot and "href" not in plot and "url(" not in plot


def test_bars_are_as_high_as_their_counts():
    root = drawn(histogram("Ages", "versions", "rows", [Bar(0, 1, 5, "0"), Bar(1, 2, 10, "1")]))
    low, high = (float(one.get("height")) for one in root.iter("rect"))
    assert high == pytest.approx(2 * low, abs=0.2) and low > 0


def test_parts_of_a_bar_add_up():
    root = drawn(f"<p>{shares('Ledger', [('a', 1), ('b', 0), ('c', 3)])}</p>")
    assert [one.get("width") for one in root.iter("rect")] == ["274", "824"]
    assert shares("Ledger", [("a", 0)]) == ""


def test_every_text_is_escaped():
    pages = [
        element("p", HOSTILE, title=HOSTILE),
        figure(HOSTILE, HOSTILE, element("b", HOSTILE), [(HOSTILE,), (HOSTILE,)]),
        curves(HOSTILE, HOSTILE, [Series(HOSTILE, [(1, 1.0)])], HOSTILE),
        histogram(HOSTILE, HOSTILE, HOSTILE, [Bar(0, 1, 1, HOSTILE)], HOSTILE),
        intervals(HOSTILE, HOSTILE, [Dot(HOSTILE, 1, 0, 2, words=HOSTILE)], HOSTILE),
        element("p", shares(HOSTILE, [(HOSTILE, 1)])),
    ]
    for page in pages:
        assert "<script" not in page
        assert not any(set(one.attrib) & {"onload", "href"} for one in drawn(page).iter())
