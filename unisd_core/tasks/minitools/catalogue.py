"""All tools by name, by domain, and by whether training may see them."""

from __future__ import annotations

from unisd_core.tasks.minitools.domains import (
    calendar,
    health,
    home,
    money,
    music,
    shopping,
    travel,
    weather,
)
from unisd_core.tasks.minitools.tools import Tool

_MODULES = {
    "weather": weather,
    "calendar": calendar,
    "home": home,
    "music": music,
    "travel": travel,
    "money": money,
    "shopping": shopping,
    "health": health,
}

DOMAINS: dict[str, tuple[Tool, ...]] = {name: module.TOOLS for name, module in _MODULES.items()}
"""Domain -> its tools, in a fixed order."""

TOOLS: dict[str, Tool] = {tool.name: tool for tools in DOMAINS.values() for tool in tools}
"""Tool name -> tool."""

DOMAIN_OF: dict[str, str] = {tool.name: name for name, tools in DOMAINS.items() for tool in tools}
"""Tool name -> domain."""

UNSEEN: frozenset[str] = frozenset(name for module in _MODULES.values() for name in module.HELD_OUT)
"""Tools kept out of training whatever the seed, so that "unseen" means the same in every run."""


def siblings(name: str) -> list[Tool]:
    """Tools of the same domain that training may see, without ``name`` itself."""
    return [t for t in DOMAINS[DOMAIN_OF[name]] if t.name != name and t.name not in UNSEEN]
