"""What every test may use: a tiny model on disk. No test reaches for the network."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from tests.tiny import make_tiny_model

os.environ["HF_HUB_OFFLINE"] = "1"
# The tests' matrices are so small that a second thread costs more than it gives.
torch.set_num_threads(1)

# Time per example says nothing on a machine that does other work beside.
settings.register_profile("unisd", deadline=None)
# Fourteen times the inputs of tests/fuzz: make fuzz.
settings.register_profile("campaign", deadline=None, max_examples=1400)
settings.load_profile("unisd")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random Llama with a byte-level tokenizer; read only, shared by all tests."""
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    installed = importlib.util.find_spec("vllm") is not None
    for item in items:
        if item.get_closest_marker("engine"):
            # Two runs at a time would starve each other on a small machine.
            item.add_marker(pytest.mark.xdist_group("engine"))
            if not installed:
                item.add_marker(pytest.mark.skip(reason="vllm is not installed"))
