"""The templates of the pages; every value in them is escaped unless it is markup."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2

from unisd_core.reporting.page.svg import number

LEGEND_ENTRIES = 64
"""Series of a plot that can be hidden."""


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("unisd_core.reporting.page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "percent": percent, "rate": rate}
    return environment


def render(template: str, **values: Any) -> str:
    """The page that ``template`` makes of ``values``."""
    page = _templates().get_template(template)
    text = page.render(legend_entries=range(LEGEND_ENTRIES), **values)
    # Half surrogate pairs, which JSON can hold and no file can.
    return text.encode("utf-8", "replace").decode("utf-8")


def percent(fraction: float | None) -> str:
    """A fraction as a percentage to one decimal."""
    return "–" if fraction is None else f"{100 * fraction:.1f} %"


def rate(value: float | None) -> str:
    """A number per second, without decimals."""
    return "–" if value is None else f"{value:,.0f}"


def points(fraction: float) -> str:
    """A difference of fractions in points, with its sign."""
    return f"{100 * fraction:+.1f}"


def duration(seconds: float) -> str:
    """Seconds in the unit a person would use."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
