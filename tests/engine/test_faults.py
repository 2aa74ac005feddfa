"""A short campaign: ten faults and one undisturbed run, which end with the same weights.

At staleness 0 nothing depends on timing, so not even a fault may leave a trace in the result.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.campaign import run_faults, steps_for
from tests.faults.job import Job, check, command
from tests.support.tiny import make_tiny_model

pytestmark = [pytest.mark.engine, pytest.mark.slow]

# But for the last, those after which little has to start again.
FAULTS = [
    "replica killed", "watchdog killed", "scorer killed", "replica slow", "engine hung",
    "scorer killed", "replica slow", "watchdog killed", "replica hung", "command killed",
]  # fmt: skip
OPTIONS = (
    "generator.transport=adapter",
    "objective.divergence.top_k=16",
    "objective.features.weight=0",
    "objective.agreement.scale=running",
)


def test_ten_faults_leave_no_trace(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model", family="llama3")
    steps = steps_for(len(FAULTS), staleness=0)
    run_faults(0, FAULTS, model, tmp_path, 0, *OPTIONS)
    whole = Job(command(model, tmp_path, "whole", steps, 0, *OPTIONS), tmp_path / "whole")
    whole.start()
    whole.wait_for(2, 300)
    assert whole.listening_beyond_loopback() == []
    whole.finish(600)
    check(tmp_path / "whole", steps, staleness=0)
    assert whole.left_behind() == []
    one, other = (
        (tmp_path / name / "adapter" / "adapter_model.safetensors").read_bytes()
        for name in ("whole", "seed-0")
    )
    assert one == other
