"""Secrets: credentials are removed from what a page shows."""

from __future__ import annotations

import re
from typing import Any

_SIGNED_IN = re.compile(r"(?<=://)[^\s/@]+@")
_QUERY = re.compile(r"(\w://[^\s?#]+)[?#]\S+")
_NAMED = re.compile(
    r"(?i)\b([\w-]*(?:token|secret|passw(?:or)?d|api[_-]?key|access[_-]?key|authorization))"
    r"(['\"]?\s*[=:]\s*['\"]?)(?:bearer\s+)?[^\s'\",;&]+"
)


def without_secrets(value: Any) -> Any:
    """``value`` with the user, query and fragment of each URL in its texts replaced by dots, and
    whatever follows a name like ``token=`` or ``password:``."""
    if isinstance(value, str):
        text = _SIGNED_IN.sub("...@", value)
        text = _QUERY.sub(r"\1?...", text)
        return _NAMED.sub(r"\1\2...", text)
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    return value
