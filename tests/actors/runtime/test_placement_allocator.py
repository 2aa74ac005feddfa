"""The allocator that computing actors are given is the one they use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from actors.runtime import placement
from actors.runtime.placement import computing_env

LIBRARY = Path(ray.__file__).parent / "core" / "libjemalloc.so"
here = pytest.mark.skipif(not LIBRARY.exists(), reason="Ray's package brings no jemalloc here")


@here
def test_a_process_with_it_frees_nothing_to_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    program = """
import torch
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
held = torch.ones(2**24)
with_it = resident()
del held
print(any("libjemalloc" in line for line in open("/proc/self/maps")), with_it - resident() < 2**24)
"""
    variables = computing_env(0)["env_vars"]
    said = subprocess.check_output(
        [sys.executable, "-c", program], env=os.environ | variables, text=True
    )
    assert said.split() == ["True", "True"]


def test_gpus_the_users_choice_and_a_missing_library_are_respected(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    assert computing_env(0.5) == {}
    monkeypatch.setattr(placement.ray, "__file__", str(tmp_path / "ray" / "__init__.py"))
    assert computing_env(0) == {}
    monkeypatch.undo()
    monkeypatch.setenv("LD_PRELOAD", "/usr/lib/libtcmalloc.so")
    assert computing_env(0) == {}
