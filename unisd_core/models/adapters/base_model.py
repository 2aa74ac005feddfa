"""Base of an adapter: whether the model it was trained on is the one it is to be used on."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from unisd_core.common.errors import UserError, shorten
from unisd_core.common.user_text import read_json
from unisd_core.models.fetch import is_hub_id, local_model, weights_checksum

logger = logging.getLogger(__name__)

_CACHED = re.compile(r"models--([^/\\]+?)--([^/\\]+)[/\\]snapshots[/\\]([0-9a-f]{40})")
_CONVERTED = re.compile(r"[/\\]models[/\\]([^/\\]+?)--([^/\\]+)-from-gguf[/\\]?\Z")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LOCAL = {
    "checkpoint", "checkpoints", "data", "model", "models", "out", "output", "outputs", "results",
    "run", "runs", "tmp",
}  # fmt: skip
"""First parts of a name that are rather a folder of another machine than an owner on the hub."""
_SHAPE = (
    "model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
    "num_attention_heads", "num_key_value_heads", "head_dim",
)  # fmt: skip


def check_base(file: Path, named: str, revision: str, used: str, *, notice: bool = True) -> None:
    """Raise UserError where the model ``named`` in ``file`` is known to be another than ``used``
    (model.name_or_path); log one line where that cannot be told, with ``notice``."""
    same = is_same_model(named, revision, used) if named else None
    said = f"base_model_name_or_path={shorten(named)!r}"
    if same is False:
        raise UserError(
            f"{file}: {said} is another model than model.name_or_path={used}; set that, or use "
            "the adapter all the same with --any-base"
        )
    if same is None and notice:
        logger.warning("%s: used on %s; whether %s is that cannot be told", file, used, said)


def is_same_model(named: str, revision: str, used: str) -> bool | None:
    """Whether two models, each a folder or a hub id, are one; None where that cannot be told.

    Equal folders or weights are one model, whatever their names. Models that differ in shape, or
    whose ids on the hub end in different names, are two.
    """
    folders = _folder(named), _folder(used)
    ours, theirs = _identity(named), _identity(used)
    same = _same_files(folders[0], folders[1]) if folders[0] and folders[1] else None
    if same is not True and ours is not None and theirs is not None:
        if ours.casefold() == theirs.casefold():
            commits = _commit(named, revision, folders[0]), _commit(used, "", folders[1])
            return None if None not in commits and commits[0] != commits[1] else True
        # A copy under another owner keeps its name.
        if ours.rpartition("/")[2].casefold() != theirs.rpartition("/")[2].casefold():
            return False
    return same


def _identity(path: str) -> str | None:
    """The hub id of ``path``: given as such, or by a folder of the hub's cache or of ours; None
    for other folders, here or on another machine."""
    known = _CACHED.search(path) or _CONVERTED.search(path)
    if known:
        return f"{known[1]}/{known[2]}"
    try:
        if not is_hub_id(path) or Path(path).is_dir():
            return None
    except OSError:  # longer than any name
        return None
    return None if path.partition("/")[0].lower() in _LOCAL else path


def _folder(path: str) -> Path | None:
    """The complete model folder of ``path`` on this machine; None where there is none, or where
    ``path`` cannot even be looked for."""
    try:
        return local_model(path)
    except (OSError, ValueError, RuntimeError):
        return None


def _commit(path: str, revision: str, folder: Path | None) -> str | None:
    """The commit on the hub, where one is known."""
    if _COMMIT.fullmatch(revision):
        return revision
    known = _CACHED.search(path) or (_CACHED.search(str(folder)) if folder else None)
    return known[3] if known else None


def _same_files(first: Path, second: Path) -> bool | None:
    """Whether two complete model folders hold one model: None for the same shape with other
    bytes, as one model has in another type."""
    if first == second:
        return True
    shapes = _shape(first), _shape(second)
    if any(shapes[0][key] != shapes[1][key] for key in shapes[0].keys() & shapes[1].keys()):
        return False
    try:
        return True if weights_checksum(first) == weights_checksum(second) else None
    except (OSError, ValueError):
        return None


def _shape(folder: Path) -> dict[str, Any]:
    """What the configuration says of the language model's shape; nothing where it is broken."""
    try:
        fields = read_json(folder / "config.json")
        fields = fields.get("text_config", fields)
        return {key: fields[key] for key in _SHAPE if fields.get(key) is not None}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}
