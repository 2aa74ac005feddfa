"""A data synthesis takes two engines exactly where that is faster and safe."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.synthesis import cpu_engines
from pipelines.synthesis.cpu_engines import with_more_engines
from unisd_core.config.run import Config


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path):
    """Sets cores and free memory; the model's weights are a megabyte."""
    (tmp_path / "model.safetensors").write_bytes(bytes(2**20))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def chosen(cores: int = 8, gib: float = 32.0, **generator: Any) -> tuple[int, int]:
        memory = SimpleNamespace(available=int(gib * 2**30))
        monkeypatch.setattr(cpu_engines, "usable_cores", lambda: cores)
        monkeypatch.setattr(cpu_engines.psutil, "virtual_memory", lambda: memory)
        config = Config.model_validate({"generator": generator})
        found = with_more_engines(config, tmp_path).generator
        return found.replicas, found.threads

    return chosen


def test_two_engines_share_the_cores(machine):
    assert machine() == (2, 4)
    assert machine(cores=2) == (2, 1)
    assert machine(cores=1) == (1, 0)


def test_memory_must_hold_both_with_as_much_again(machine):
    # 3 GiB and a little for each engine.
    assert machine(gib=11.9) == (1, 0)
    assert machine(gib=12.1) == (2, 4)
    assert machine(gib=12.1, kv_cache_gib=2.0) == (1, 0)


def test_what_was_chosen_stays(machine, monkeypatch):
    assert machine(replicas=3) == (3, 0)
    assert machine(threads=1) == (1, 1)
    assert machine(max_replicas=4) == (1, 0)
    assert machine(gpus=1.0) == (1, 0)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert machine() == (1, 0)
