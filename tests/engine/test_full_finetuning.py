"""Full fine-tuning of a tiny Gemma-3: sampled, scored, learned and pushed back whole.

The model also writes its own contexts first, and validation ends the run early. At staleness 0
every row is trained by the version that sampled it, so the gap between engine and learner also
tells whether the pushed weights arrived.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.support.small_run import ROOT, small_run
from tests.support.tiny import make_tiny_model

TIMEOUT_S = 600
STEPS = 60

SCRIPT = """
import sys
from pipelines.api import train
from unisd_core import Config

summary = train(Config.from_preset("unisd_full", sys.argv[1:]))
print("steps returned:", summary.steps)
"""
"""The run from Python, as ``docs/library.md`` has it."""

pytestmark = [pytest.mark.engine, pytest.mark.slow]


def run(model: Path, out: Path) -> str:
    arguments = small_run(
        model,
        out,
        "whole",
        "model.finetune=full",
        "model.max_view_length=1950",
        "views.num_auxiliary=1",
        "views.auxiliary=induction",
        "views.induction.pool=3",
        "views.induction.max_tokens=8",
        "views.induction.examples=1",
        "views.negatives.source=generated",
        "views.negatives.max_tokens=8",
        f"training.max_steps={STEPS}",
        "training.batch_size=4",
        "training.max_staleness=0",
        "training.warmup_ratio=0",
        # Large enough that weights which did not arrive would show in the gap.
        "training.learning_rate=1e-3",
        "training.save_steps=1",
        "evaluation.rows=2",
        "evaluation.teacher_rows=0",
        "evaluation.eval_steps=1",
        "evaluation.validation_rows=2",
        "evaluation.early_stopping_patience=2",
        "outputs.tensorboard=false",
    )
    command = [sys.executable, "-c", SCRIPT, *arguments[3:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@torch.no_grad()
def update_size(model: Path, trained: Path) -> float:
    """Mean change of a log-prob by training, in nats."""
    ids_BT = torch.arange(8, 72).unsqueeze(0)
    before_BTV, after_BTV = (
        AutoModelForCausalLM.from_pretrained(path)(ids_BT).logits.log_softmax(-1)
        for path in (model, trained)
    )
    return float((after_BTV - before_BTV).abs().mean())


def test_whole_models_are_pushed_and_validation_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNISD_CACHE", str(tmp_path / "cache"))
    model = make_tiny_model(tmp_path / "model", family="gemma3")
    printed = run(model, tmp_path)
    path = tmp_path / "whole"
    summary = json.loads((path / "summary.json").read_text())
    # The random model gets no better, so the third validation at the latest is the last.
    steps = summary["steps"]
    assert f"steps returned: {steps}\n" in printed
    assert 3 <= steps < STEPS
    assert summary["versions_published"] == steps
    assert summary["replica_versions"] == [steps]
    assert summary["ledger"]["consumed"] == 4 * steps
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    gaps = [line["engine_learner_logprob_gap"] for line in lines]
    assert len(gaps) == steps and max(gaps) < 1e-3
    # Far more than that gap, so that weights which did not arrive would show in it.
    assert update_size(model, path / "model") > 0.01
    # The random model writes nothing of use; the rule and solved examples stand in.
    assert "negatives.written" in printed and "induction.written" in printed
