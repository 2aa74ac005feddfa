"""The tools a prompt documents, read from its text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

Tools = Mapping[str, Mapping[str, str]]
"""Tool name -> parameter name -> its description."""

_TOOL = re.compile(
    r"^(?P<name>[^\s:]+):.*\nParameters: (?P<parameters>\{.*\})[ \t]*$", re.MULTILINE
)
_TYPE = re.compile(r"(?:Required\. )?(?P<type>\w+)")
_OPTIONS = re.compile(r"One of: \[([^\]]*)\]")


def documented_tools(prompt: str) -> dict[str, dict[str, str]]:
    """Tools in the order of their documentation; one whose parameters are no JSON object counts
    as having none."""
    return {
        match["name"]: _parameters(match["parameters"])
        for match in _TOOL.finditer(prompt.partition("Begin!")[0])
    }


def _parameters(text: str) -> dict[str, str]:
    try:
        parameters: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return {name: str(description) for name, description in parameters.items()}


def options_of(description: str) -> list[str]:
    """The values a parameter is limited to, as documented; empty when it is not."""
    match = _OPTIONS.search(description)
    return [option.strip() for option in match[1].split(",") if option.strip()] if match else []


def type_of(description: str) -> str:
    """The documented type in lower case, such as "integer"; "" when there is none."""
    match = _TYPE.match(description)
    return match["type"].lower() if match else ""
