"""Fixtures of every test: a tiny model on disk. No test reaches for the network."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from tests.support.tiny import make_tiny_model

os.environ["HF_HUB_OFFLINE"] = "1"
# The tests' matrices are so small that a second thread costs more than it gives.
torch.set_num_threads(1)

# Time per example says nothing on a machine that does other work beside. The same inputs each
# time, so that a change is judged by what it changes.
settings.register_profile("unisd", deadline=None, derandomize=True)
# New inputs each time, and fourteen times those of tests/fuzz: make fuzz.
settings.register_profile("campaign", deadline=None, max_examples=1400)
settings.load_profile("unisd")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random Llama with a byte-level tokenizer; read only, shared by all tests."""
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if importlib.util.find_spec("vllm") is not None:
        return
    for item in items:
        if item.get_closest_marker("engine"):
            item.add_marker(pytest.mark.skip(reason="vllm is not installed"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The tests that start engines run one after the other, beside all the others: two runs at a
    time would starve each other on a small machine."""
    from xdist.scheduler import LoadScopeScheduling

    class EnginesInOneProcess(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "engine" if nodeid.startswith("tests/engine/") else nodeid

    return EnginesInOneProcess(config, log)
