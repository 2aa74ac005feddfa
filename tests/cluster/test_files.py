"""Image, dashboard, instructions and upload: what can be checked without a cloud."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from ray._private.ray_constants import get_runtime_env_default_excludes
from ray._private.runtime_env.packaging import create_package

from actors.runtime.metrics import INSTRUMENTS, exported_names
from tests.cluster.files import CLUSTER, LAUNCHERS, PROJECT, ROOT, leaves, load

TEXTS = sorted(path for path in CLUSTER.iterdir() if path.is_file())
MANIFESTS = ("raycluster.yaml", "rayjob.yaml", *LAUNCHERS)


def instructions() -> list[str]:
    """The Dockerfile's instructions, continued lines joined."""
    text = (CLUSTER / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return [line for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines() if line]


def test_the_image_is_pinned_and_runs_as_an_ordinary_user() -> None:
    lines = instructions()
    (base,) = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert re.fullmatch(r"python:3\.\d+\.\d+-\S+", base)
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users and users[-1] not in ("root", "0")
    assert not any(line.startswith(("ADD", "EXPOSE")) for line in lines)


def test_the_image_installs_the_extra_it_is_told() -> None:
    lines = instructions()
    assert "ARG EXTRA=cpu" in lines
    assert any('.ci/install python .venv "$EXTRA"' in line for line in lines)
    assert {"cpu", "gpu"} <= set(PROJECT["optional-dependencies"])


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    checked = subprocess.run(
        [str(hadolint), str(CLUSTER / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout) == (0, "")


@pytest.mark.parametrize("name", MANIFESTS)
def test_images_carry_the_version_of_the_project(name: str) -> None:
    images = [value for path, value in leaves(load(name)) if path.endswith(".image")]
    assert images
    assert {image.rpartition(":")[2] for image in images} == {f"{PROJECT['version']}-gpu"}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_no_file_holds_a_secret(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"RAY_AUTH_TOKEN\s*[=:]", text)
    assert not re.search(r"AKIA[0-9A-Z]{16}|-----BEGIN|hf_[A-Za-z0-9]{20}", text)
    assert not re.search(
        r"(?i)(password|secret_key|api_key|auth_token)\s*[:=]\s*['\"]?\w{8,}", text
    )


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_path_that_is_mentioned_exists(path: Path) -> None:
    text = path.read_text()
    inside = r"(?:^|[\s`\"'/(])((?:cluster|pipelines|actors|docs|\.ci)/[\w./-]*\w)"
    for found in set(re.findall(inside, text)):
        assert (ROOT / found).exists(), found
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (CLUSTER / link).exists(), link


def test_the_instructions_name_every_file_of_the_folder() -> None:
    text = (CLUSTER / "README.md").read_text()
    for path in TEXTS:
        assert path.name in text or path.name in ("README.md", "Dockerfile.dockerignore")


def test_the_dashboard_draws_metrics_that_exist_and_all_of_them() -> None:
    panels = json.loads((CLUSTER / "grafana.json").read_text())["panels"]
    drawn = {
        name
        for panel in panels
        for target in panel["targets"]
        for name in re.findall(r"ray_\w+", target["expr"])
    }
    assert drawn <= exported_names()
    bare = {re.sub(r"^ray_unisd_|_(total|bucket|sum|count)$", "", name) for name in drawn}
    assert bare == set(INSTRUMENTS)


def test_panels_do_not_overlap() -> None:
    panels = json.loads((CLUSTER / "grafana.json").read_text())["panels"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_a_job_uploads_what_it_runs_and_nothing_else(tmp_path: Path) -> None:
    clone, package = tmp_path / "clone", tmp_path / "package.zip"
    for name in (".gitignore", ".rayignore", "pyproject.toml"):
        clone.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    kept = [
        "pipelines/unisd_full.py",
        "actors/runs.py",
        "cluster/placement.yaml",
        "data/rows.jsonl",
    ]
    left = [
        ".venv/bin/python", ".git/config", "runs/demo/config.yaml", "docs/design.md",
        "tests/conftest.py", "actors/__pycache__/gate.pyc", ".cache/model", ".mypy_cache/x",
    ]  # fmt: skip
    for name in (*kept, *left):
        file = clone / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    create_package(
        str(clone), package, include_gitignore=True, excludes=get_runtime_env_default_excludes()
    )
    names = {name for name in zipfile.ZipFile(package).namelist() if not name.endswith("/")}
    assert names == {*kept, ".gitignore", ".rayignore", "pyproject.toml"}
