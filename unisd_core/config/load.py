"""Presets and overrides to one checked configuration, and back to YAML.

Every mistake becomes one ``UserError`` line naming the file, the key and what is expected.
Imports neither torch, ray, vllm nor transformers.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml  # type: ignore[import-untyped]
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from unisd_core.common.errors import UserError, reason, shorten
from unisd_core.common.user_text import read_text
from unisd_core.config.base import leaf_fields
from unisd_core.config.renamed_keys import OLD_CUSTOM_TASK, RENAMED, renamed
from unisd_core.config.yaml_dialect import Dumper, Loader

Tree = TypeVar("Tree", bound=BaseModel)
"""The class of the whole configuration, ``unisd_core.config.run.Config``."""

PRESETS_DIR = Path(__file__).parents[2] / "pipelines" / "presets"
"""The presets of a clone, or of what was installed from one."""


class _Entries(dict[str, Any]):
    """Some entries of a setting that is a mapping; the others stay."""


@dataclass(frozen=True)
class _Setting:
    """A value and the file it came from ("" where none is named)."""

    value: Any
    source: str


def resolve(
    tree: type[Tree],
    preset: str | Sequence[str] | None,
    overrides: Sequence[str] | Mapping[str, Any],
    presets_dir: Path,
) -> Tree:
    """Presets and overrides as one checked ``tree``; see ``Config.from_preset``."""
    presets = [preset] if isinstance(preset, str) else preset or []
    settings: dict[str, _Setting] = {}
    for name in presets:
        for path, data in _preset_chain(name, presets_dir):
            for key, value in _flatten(tree, data, f"{path}: "):
                settings[key] = _Setting(value, f"{path}: ")
    if isinstance(overrides, Mapping):
        pairs = _flatten(tree, overrides, "")
    else:
        pairs = [_parse_override(tree, override) for override in overrides]
    for key, value in pairs:
        before = settings.get(key)
        if isinstance(value, _Entries) and before and isinstance(before.value, dict):
            value = before.value | value
        settings[key] = _Setting(value, "")
    return _checked(tree, settings)


def _checked(tree: type[Tree], settings: Mapping[str, _Setting]) -> Tree:
    for key, setting in settings.items():
        if not _is_text(setting.value):
            raise UserError(
                f"{setting.source}{key}: holds a NUL or a character that is no Unicode; remove it"
            )
    try:
        # Strict JSON: text or a truth value is not taken for a number, a list is a tuple.
        return tree.model_validate_json(json.dumps(_nest(settings), default=str), strict=True)
    except ValidationError as error:
        raise UserError(_first_error(tree, error, settings)) from None


def read_saved(tree: type[Tree], path: Path) -> Tree:
    """The ``tree`` that a run wrote to ``path``; see ``Config.from_saved``."""
    data = renamed(read_mapping(path, "configuration"), RENAMED)
    if data.get("task") == OLD_CUSTOM_TASK:
        raise UserError(
            f"{path}: task={OLD_CUSTOM_TASK} became task=custom, which names rows anew and so sets "
            "others aside; start a new run"
        )
    pairs = _flatten(tree, data, f"{path}: ")
    return _checked(tree, {key: _Setting(value, f"{path}: ") for key, value in pairs})


def dump_config(config: BaseModel) -> str:
    """``config`` as YAML that ``Config.from_preset`` reads back to an equal object."""
    text: str = yaml.dump(config.model_dump(mode="json"), Dumper=Dumper, sort_keys=False)
    return text


def config_sha256(config: BaseModel) -> str:
    """Hex digest of the canonical JSON (sorted keys, no spaces) of every setting."""
    canonical = json.dumps(config.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def changed_keys(before: BaseModel, after: BaseModel) -> list[str]:
    """Dotted keys whose values differ, in the order of the configuration tree."""
    leaves = leaf_fields(type(after))
    return [key for key in leaves if _value(before, key) != _value(after, key)]


def _is_text(value: Any) -> bool:
    """Whether every text in ``value`` can be written to a file and name one."""
    if isinstance(value, dict):
        return all(map(_is_text, (*value.keys(), *value.values())))
    if isinstance(value, list):
        return all(map(_is_text, value))
    return not isinstance(value, str) or not any(
        letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in value
    )


def _value(config: BaseModel, key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _preset_chain(preset: str | None, presets_dir: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The preset's files with their settings, the most basic first."""
    chain: list[tuple[Path, dict[str, Any]]] = []
    folder = Path()
    while preset is not None:
        try:
            path = find_named("preset", preset, presets_dir, folder)
        except UserError as error:
            raise UserError(f"{chain[-1][0]}: base: {error}" if chain else str(error)) from None
        if any(path.resolve() == seen.resolve() for seen, _ in chain):
            raise UserError(f"{path}: 'base' leads back to this preset; remove one 'base' line")
        data = read_mapping(path, "preset")
        preset = data.pop("base", None)
        if preset is not None and not isinstance(preset, str):
            raise UserError(f"{path}: base={shorten(str(preset))} must be the name of a preset")
        chain.append((path, data))
        folder = path.parent
    return chain[::-1]


def find_named(kind: str, name: str, named_dir: Path, folder: Path = Path()) -> Path:
    """The YAML file that ``name`` means: one of ``named_dir`` (or a subfolder of it), or a path
    relative to ``folder``.

    Raises UserError that names the nearest file of ``named_dir``; ``kind`` says what is looked for.
    """
    if name.endswith((".yaml", ".yml")):
        tried = [folder / name]
    elif "/" in name:
        tried = [named_dir / f"{name}.yaml", folder / name]
    else:
        tried = [named_dir / f"{name}.yaml"]
    for path in tried:
        if _is_file(path):
            return path
    names = sorted(
        found.relative_to(named_dir).with_suffix("").as_posix()
        for found in named_dir.rglob("*.yaml")
    )
    # The last part alone also finds its preset: "qwen2.5-7b" means models/qwen2.5-7b.
    by_end = {known.rpartition("/")[2]: known for known in names}
    close = difflib.get_close_matches(name, names, n=1) or [
        by_end[end] for end in difflib.get_close_matches(name, by_end, n=1)
    ]
    advice = f"did you mean {close[0]}?" if close else f"{kind}s are: {', '.join(names) or 'none'}"
    if not named_dir.is_dir():
        advice = f"the folder of {kind}s is missing; run from a clone or give the path of a file"
    raise UserError(f"{kind} '{shorten(name)}': no file {shorten(str(tried[0]), 500)}; {advice}")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # A name too long for the file system, or a folder that may not be read.
        return False


def read_mapping(path: Path, kind: str) -> dict[str, Any]:
    """A YAML file as a mapping; ``off`` and the like stay text. Raises UserError for a file that is
    none, calling it a ``kind``, and for a key that appears twice."""
    try:
        data = yaml.load(read_text(path), Loader)
    # ValueError: a number of thousands of digits.
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}:" if mark else ""
        problem = getattr(error, "problem", None) or reason(error)
        raise UserError(f"{path}:{where} not valid YAML ({shorten(problem)})") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise UserError(f"{path}: a {kind} is a mapping of settings such as 'training:'")
    return data


def _flatten(
    tree: type[BaseModel], data: Mapping[str, Any], source: str, prefix: str = ""
) -> list[tuple[str, Any]]:
    leaves = leaf_fields(tree)
    flat: list[tuple[str, Any]] = []
    for name, value in data.items():
        key = prefix + name
        if key in leaves:
            flat.append((key, value))
        elif isinstance(value, dict) and _is_section(tree, key):
            flat += _flatten(tree, value, source, f"{key}.")
        else:
            raise UserError(source + unknown_setting(tree, key))
    return flat


def _parse_override(tree: type[BaseModel], override: str) -> tuple[str, Any]:
    key, equals, text = override.partition("=")
    if not equals:
        raise UserError(
            f"'{shorten(override)}' is not an override; write key=value, as training.max_steps=20"
        )
    info = leaf_fields(tree).get(key)
    mapping, _, entry = key.rpartition(".")
    if info is None and _is_mapping(leaf_fields(tree).get(mapping)):
        return mapping, _Entries({entry: _parsed(text)})
    if info is None:
        raise UserError(unknown_setting(tree, key))
    nullable = type(None) in get_args(info.annotation)
    if nullable and text in ("None", "none"):
        return key, None
    value = _parsed(text)
    is_text = info.annotation in (str, str | None)
    if is_text and not isinstance(value, str) and not (nullable and value is None):
        value = text  # name=2024 is a name, not a number
    return key, value


def _parsed(text: str) -> Any:
    try:
        return yaml.load(text, Loader)
    except (yaml.YAMLError, ValueError):
        return text


def _is_mapping(info: FieldInfo | None) -> bool:
    return info is not None and get_origin(info.annotation) is dict


def _nest(settings: Mapping[str, _Setting]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for key, setting in settings.items():
        *sections, leaf = key.split(".")
        node = root
        for section in sections:
            node = node.setdefault(section, {})
        node[leaf] = setting.value
    return root


def _is_section(tree: type[BaseModel], key: str) -> bool:
    return any(leaf.startswith(f"{key}.") for leaf in leaf_fields(tree))


def unknown_setting(tree: type[BaseModel], key: str) -> str:
    """One line that says why ``key`` cannot be set, and which setting was probably meant."""
    leaves = list(leaf_fields(tree))
    if _is_section(tree, key):
        example = next(leaf for leaf in leaves if leaf.startswith(f"{key}."))
        return f"{key} is a group of settings; set its keys, as {example}"
    if key in RENAMED:
        return f"{key} is now called {RENAMED[key]}; write that"
    if key == OLD_CUSTOM_TASK:
        return f"{key} is now called custom; write that"
    name = key.rpartition(".")[2]
    same_name = [leaf for leaf in leaves if leaf.rpartition(".")[2] == name]
    close = same_name or difflib.get_close_matches(key, leaves, n=1)
    if not close:
        by_name = {leaf.rpartition(".")[2]: leaf for leaf in leaves}
        close = [by_name[match] for match in difflib.get_close_matches(name, by_name, n=1)]
    advice = f"did you mean {close[0]}?" if close else "--settings prints every setting"
    return f"{shorten(key)} is not a setting; {advice}"


_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("above", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("below", "lt"),
}
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list such as [a, b]",
    "dict": "a mapping such as {name: value}",
    "date": "a date such as 2025-01-31",
}


def _first_error(
    tree: type[BaseModel], error: ValidationError, settings: Mapping[str, _Setting]
) -> str:
    details = error.errors(include_url=False)
    first = details[0]
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    if first["type"] == "value_error":
        return str(first["ctx"]["error"]) + more
    key = ".".join(str(part) for part in first["loc"] if isinstance(part, str))
    given = first["input"]
    shown = shorten(given if isinstance(given, str) else json.dumps(given))
    leaves = leaf_fields(tree)
    leaf = next(leaf for leaf in leaves if f"{key}.".startswith(f"{leaf}."))
    info = leaves[leaf]
    if key != leaf:
        # Of an entry of a mapping, every type that it may have is complained of.
        key = ".".join(key.split(".")[: leaf.count(".") + 2])
        return f"{key}={shown}: {key.rpartition('.')[2]} must be text, a number, true or false"
    # Documentation that opens with a symbol ("K, the number of ...") lends it to the message.
    symbol = re.match(r"([A-Z]|[a-z]+_[a-z])[,:] ", info.description or "")
    name = symbol[1] if symbol else key.rpartition(".")[2]
    source = settings[key].source if key in settings else ""
    return f"{source}{key}={shown}: {name} must be {_expected(first, info)}{more}"


def _expected(details: Mapping[str, Any], info: FieldInfo) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"{words} {context[bound]}"
    if kind == "literal_error":
        expected = f"one of {context['expected']}"
    elif kind == "string_pattern_mismatch":
        expected = f"text that matches {context['pattern']}"
    else:
        expected = _KINDS.get(kind.partition("_")[0], details["msg"])
    return expected + (" or null" if type(None) in get_args(info.annotation) else "")
