"""The files of ``cluster/`` as their readers see them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
CLUSTER = ROOT / "cluster"
LAUNCHERS = ("aws.yaml", "gcp.yaml")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def load(name: str) -> Any:
    """One YAML file of the folder."""
    return yaml.safe_load((CLUSTER / name).read_text())


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every scalar of nested lists and mappings, after its dotted path."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}")
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item, path)
    else:
        yield path, value


def cluster_spec() -> dict[str, Any]:
    """The Ray cluster on Kubernetes."""
    return load("raycluster.yaml")["spec"]


def groups(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Head and worker groups."""
    return [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
