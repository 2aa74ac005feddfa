"""The YAML of presets and overrides: few implicit types, no aliases, no tags, no key twice."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml  # type: ignore[import-untyped]

_SCALARS = (
    ("tag:yaml.org,2002:bool", r"true|false", "tf"),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?",
        "-+.0123456789",
    ),
    ("tag:yaml.org,2002:null", r"~|null|", "~n"),
)
_DEEPEST = 20
"""Levels of a YAML file, five times what a setting needs."""


class Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML with few implicit types: PyYAML's own read ``off`` as false and ``1e-3`` as text."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The next node; refuses what no setting needs and a few lines blow up with."""
        event = self.peek_event()
        problem = None
        if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None) is not None:
            problem = "aliases and tags are not read here; write the value itself"
        elif self._depth == _DEEPEST:
            problem = "nested too deep"
        if problem:
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


class Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Quotes text that either this module or any YAML 1.1 reader would take for another type."""


for _tag, _pattern, _first in _SCALARS:
    _compiled = re.compile(f"^(?:{_pattern})$")
    # "" stands for the empty scalar, which only null may match.
    Loader.add_implicit_resolver(_tag, _compiled, [*_first, *([""] if "null" in _tag else [])])
    Dumper.add_implicit_resolver(_tag, _compiled, [*_first])


def _int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    # PyYAML would read a leading zero as octal.
    return int(loader.construct_scalar(node))


def _float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    return float(loader.construct_scalar(node))


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    pairs = [
        (loader.construct_object(key, deep=True), loader.construct_object(value, deep=True))
        for key, value in node.value
    ]
    keys = [str(key) for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            # The last of two equal keys would win without a word.
            raise yaml.constructor.ConstructorError(
                None, None, f"key '{key}' appears twice", node.start_mark
            )
    return dict(zip(keys, (value for _, value in pairs), strict=True))


Loader.add_constructor("tag:yaml.org,2002:int", _int)
Loader.add_constructor("tag:yaml.org,2002:float", _float)
Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
