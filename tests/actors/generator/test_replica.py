"""After a push a replica shows that its engine computes with what it was sent."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors.generator import replica as generator
from actors.generator.replica import PROBE_GAP, GeneratorReplica
from actors.generator.types import ReplicaReport
from actors.weights.update import Probe, WeightUpdate
from unisd_core.config.run import Config

PROBE = Probe(ids=(5, 6, 7), logprobs=(-1.0, -2.0))


class Engine:
    """Gives every token the same log-probs, whatever it was sent."""

    steps = 0

    def __init__(self, *_: Any) -> None:
        self.logprobs: list[float] = []

    async def prompt_logprobs(self, ids: list[int], adapter: Any = None) -> list[float]:
        assert (ids, adapter) == ([5, 6, 7], "adapter of 4")
        return self.logprobs


class Transport:
    """Serves what it is given."""

    in_place = False
    serving = SimpleNamespace(adapter="adapter of 4")
    version = 0

    async def load(self, update: WeightUpdate) -> str:
        self.version = update.version
        return update.checksum


@pytest.fixture
def load(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pushes version 4 to a replica whose engine then computes the given log-probs."""
    monkeypatch.setattr(generator, "Engine", Engine)
    replica: Any = GeneratorReplica(Config(), str(tiny_model), 0)
    replica.transport = Transport()

    def push(logprobs: list[float], probe: Probe | None = PROBE) -> ReplicaReport:
        replica.engine.logprobs = logprobs
        return asyncio.run(replica.load(WeightUpdate(4, (), "sum", probe=probe)))

    return push


def test_an_engine_that_computes_what_it_must_is_taken(load: Any) -> None:
    report = load([-1.0, -2.0 + PROBE_GAP["float32"]])
    assert (report.version, report.checksum) == (4, "sum")


@pytest.mark.parametrize("logprobs", [[-1.0, -2.01], [-1.0, math.nan]])
def test_an_engine_with_other_weights_is_refused(load: Any, logprobs: list[float]) -> None:
    with pytest.raises(RuntimeError, match="given version 4 but computes log-probs"):
        load(logprobs)


def test_weights_without_a_probe_are_taken_as_they_are(load: Any) -> None:
    assert load([], probe=None).version == 4
