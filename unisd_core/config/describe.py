"""Documentation of every setting, generated from the types: plain text, and the page
``docs/settings.md`` (``python -m unisd_core.config.describe > docs/settings.md``).

Imports neither torch, ray nor vllm.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterator
from datetime import date
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from unisd_core.common.errors import UserError
from unisd_core.config.base import leaf_fields
from unisd_core.config.load import unknown_setting
from unisd_core.config.run import Config

_TITLE = """# Settings

Every setting of a run, with its default. The command line takes them as `key=value`, a preset as
nested YAML; `null` turns an optional setting off. `--settings PREFIX` prints the same in a
terminal, `--dry-run` the values a command would use.

This page is generated: `python -m unisd_core.config.describe > docs/settings.md`.
"""

_BOUNDS = (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))
_KINDS = {
    int: "whole number",
    float: "number",
    bool: "true or false",
    str: "text",
    date: "date",
}


def describe_settings(prefix: str = "") -> str:
    """The settings whose keys begin with ``prefix``, with default, values and meaning, as text.

    Raises UserError where no key does.
    """
    chosen = {key: info for key, info in leaf_fields(Config).items() if key.startswith(prefix)}
    if not chosen:
        raise UserError(unknown_setting(Config, prefix))
    return "\n".join(
        f"{key}={_default(info)}  ({_values(info)})\n"
        + textwrap.indent(textwrap.fill(_meaning(info), 92), "    ")
        for key, info in chosen.items()
    )


def settings_page() -> str:
    """The page ``docs/settings.md``: one table for each section."""
    parts = [_TITLE]
    for name, section in _sections("", Config):
        rows = [
            f"| `{name}{key}` | {_code(_default(info))} | {_markdown(_values(info))} "
            f"| {_markdown(_meaning(info))} |"
            for key, info in section.model_fields.items()
            if not _is_section(info)
        ]
        if not rows:
            continue
        title = f"`{name.rstrip('.')}`" if name else "The run"
        parts.append(f"## {title}\n\n{_paragraph(section.__doc__)}\n")
        parts.append("| key | default | values | meaning |\n| --- | --- | --- | --- |")
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def _sections(name: str, section: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """``section``, called ``name`` (with a dot at its end), and all below it."""
    yield name, section
    for key, info in section.model_fields.items():
        if _is_section(info):
            assert isinstance(info.annotation, type)
            yield from _sections(f"{name}{key}.", info.annotation)


def _is_section(info: FieldInfo) -> bool:
    return isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)


def _meaning(info: FieldInfo) -> str:
    return re.sub(r"\bNone\b", "null", _paragraph(info.description))


def _paragraph(text: str | None) -> str:
    return " ".join((text or "").split())


_JSON = (bool, int, float, dict, type(None))


def _default(info: FieldInfo) -> str:
    """The default as the command line takes it."""
    default: Any = info.get_default()
    if isinstance(default, tuple):
        return f"[{', '.join(map(str, default))}]"
    return json.dumps(default) if isinstance(default, _JSON) else str(default)


def _values(info: FieldInfo) -> str:
    """The values a setting takes, in words."""
    optional = type(None) in get_args(info.annotation)
    kind = next(kind for kind in (*get_args(info.annotation), info.annotation) if kind is not None)
    if get_origin(info.annotation) is Literal:
        *others, last = get_args(info.annotation)
        words = f"{', '.join(others)} or {last}"
    elif get_origin(info.annotation) is tuple:
        words = f"list of {'texts' if kind is str else 'whole numbers'}"
    elif get_origin(info.annotation) is dict:
        words = "mapping"
    else:
        bounds = [
            f"{word} {getattr(rule, name):g}"
            for name, word in _BOUNDS
            for rule in info.metadata
            if getattr(rule, name, None) is not None
        ]
        words = ", ".join([_KINDS[kind], *bounds])
    return f"{words}, or null" if optional else words


def _markdown(text: str) -> str:
    """``text`` as a cell of a table."""
    for mark, escaped in (("|", r"\|"), ("<", "&lt;"), ("*", r"\*")):
        text = text.replace(mark, escaped)
    return text


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


if __name__ == "__main__":
    sys.stdout.write(settings_page())
