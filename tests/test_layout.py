"""House rules that a reader relies on: which way imports run, how large files and folders are."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.import_graph import FILES, ROOT, circle, file_graph, first_room, imported

ALLOWED = {
    "unisd_core": {"unisd_core"},
    "actors": {"unisd_core", "actors"},
    "pipelines": {"unisd_core", "actors", "pipelines"},
}
"""Imports run one way: pipelines, actors, unisd_core."""

BENEATH = {
    "unisd_core.common": "",
    "unisd_core.config": "common",
    "unisd_core.sandbox": "common",
    "unisd_core.models": "common config",
    "unisd_core.objective": "common config",
    "unisd_core.tasks": "common config sandbox",
    "unisd_core.views": "common config models tasks",
    "unisd_core.scoring": "common config models objective tasks views",
    "unisd_core.training": "common config models objective",
    "unisd_core.evaluation": "common config models objective tasks views",
    "unisd_core.reporting": "common config evaluation",
    "unisd_core.synthesis": "common config models reporting scoring tasks views",
    "actors.runtime": "",
    "actors.supervision": "runtime",
    "actors.admission": "runtime supervision",
    "actors.weights": "runtime supervision",
    "actors.generator": "runtime supervision admission weights",
    "actors.stream": "runtime supervision admission generator weights",
    "actors.checkpoints": "admission",
    "actors.learner": "runtime supervision admission generator weights checkpoints",
    "actors.synthesis": "runtime supervision generator stream weights",
    "pipelines.command": "",
    "pipelines.training": "command",
    "pipelines.evaluation": "command",
    "pipelines.synthesis": "command",
    "pipelines.ablation": "",
}
"""The folders of its own package that a folder may import from; files beside the folders may
import all of them."""


def third_party(path: Path) -> set[str]:
    """Top-level packages that a file imports anywhere, also inside functions."""
    return {name.split(".")[0] for name in imported(path)}


@pytest.mark.parametrize("module", FILES)
def test_imports_run_one_way(module: str) -> None:
    package, path = module.split(".")[0], FILES[module]
    ours = third_party(path) & ALLOWED.keys()
    assert ours <= ALLOWED[package]
    if package == "unisd_core":
        assert "ray" not in third_party(path)
    if path.name != "engine.py":
        assert "vllm" not in third_party(path)


def test_folders_import_only_what_lies_beneath_them() -> None:
    for module, others in file_graph().items():
        folder = first_room(module)
        if folder not in BENEATH:
            continue
        package = folder.split(".")[0]
        allowed = {f"{package}.{name}" for name in BENEATH[folder].split()} | {folder}
        same = {first_room(other) for other in others if other.startswith(f"{package}.")}
        assert same <= allowed, f"{module} imports from {same - allowed}"


def test_every_folder_has_its_line_in_the_table() -> None:
    folders = {first_room(module) for module, path in FILES.items() if module.count(".") > 1}
    assert folders == BENEATH.keys()


def test_nothing_imports_in_a_circle() -> None:
    assert circle(file_graph()) == []


def test_folders_are_small() -> None:
    for folder in {path.parent for path in FILES.values()}:
        entries = [
            entry
            for entry in folder.iterdir()
            if entry.name != "__pycache__" and entry.suffix != ".yaml"
        ]
        assert len(entries) <= 14, folder


def test_each_test_file_is_named_after_the_file_it_tests() -> None:
    for package in ALLOWED:
        for path in (ROOT / "tests" / package).rglob("test_*.py"):
            folder = ROOT / path.parent.relative_to(ROOT / "tests")
            tested = path.stem.removeprefix("test_")
            names = {entry.stem for entry in folder.iterdir()} if folder.is_dir() else set()
            assert any(tested == name or tested.startswith(f"{name}_") for name in names), path


def test_no_two_public_classes_share_a_name() -> None:
    places: dict[str, list[str]] = {}
    for module, path in FILES.items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(module)
    assert not {name: found for name, found in places.items() if len(found) > 1}


def test_files_are_small() -> None:
    lengths = sorted(len(path.read_text().splitlines()) for path in FILES.values())
    assert lengths[-1] <= 400
    assert lengths[len(lengths) // 2] < 200


def test_nothing_is_unpickled_and_no_remote_code_is_run() -> None:
    for path in FILES.values():
        text = path.read_text()
        assert "pickle" not in third_party(path), path
        assert "trust_remote_code=True" not in text, path
        assert "torch.load" not in text, path


def test_processes_that_only_pass_messages_need_no_torch() -> None:
    modules = (
        "actors.stream.generate, actors.stream.score, actors.stream.agree, actors.generator.pool, "
        "actors.admission.gate, actors.weights.store, actors.learner.job"
    )
    code = (
        f"import sys, {modules}; sys.exit(bool({{'torch', 'transformers'}} & sys.modules.keys()))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
