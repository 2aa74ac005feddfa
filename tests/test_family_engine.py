"""Two steps of the whole job per model family: sampled, scored, learned and pushed back.

At staleness 0 every row is trained by the version that sampled it, so the gap between engine
and learner also tells whether the pushed weights arrived.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests.tiny import make_tiny_model

ROOT = Path(__file__).parent.parent
TIMEOUT_S = 600
STEPS = 2

pytestmark = [pytest.mark.engine, pytest.mark.slow]


def run(model: Path, out: Path, *overrides: str) -> None:
    arguments = [
        sys.executable,
        str(ROOT / "pipelines" / "unisd_full.py"),
        "--preset=unisd_full",
        "name=family",
        f"output_dir={out}",
        f"model.path={model}",
        "model.max_prompt_tokens=1000",
        "model.max_view_tokens=1950",
        "rollout.chunk=4",
        "rollout.max_completion_tokens=12",
        "views.count=1",
        f"training.steps={STEPS}",
        "training.batch=4",
        "training.staleness=0",
        "training.warmup=0",
        # Large enough that weights which did not arrive would show in the gap.
        "training.learning_rate=1e-2",
        "generator.cpus=0.25",
        "generator.kv_cache_gib=0.25",
        "learner.cpus=0.25",
        "evaluation.rows=2",
        "evaluation.teacher_rows=0",
        "outputs.tensorboard=false",
        *overrides,
    ]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@torch.no_grad()
def update_size(model: Path, adapter: Path) -> float:
    """Mean change of a log-prob by the trained adapter, in nats."""
    ids_BT = torch.arange(8, 72).unsqueeze(0)
    base = AutoModelForCausalLM.from_pretrained(model)
    before_BTV = base(ids_BT).logits.log_softmax(-1)
    after_BTV = PeftModel.from_pretrained(base, adapter)(ids_BT).logits.log_softmax(-1)
    return float((after_BTV - before_BTV).abs().mean())


@pytest.mark.parametrize(
    ("family", "transport"), [("qwen2", "merged"), ("llama3", "adapter"), ("gemma3", "merged")]
)
def test_a_run_of_every_family_pushes_what_it_learned(
    family: str, transport: str, tmp_path: Path
) -> None:
    model = make_tiny_model(tmp_path / "model", family=family)
    run(model, tmp_path, f"generator.transport={transport}")
    path = tmp_path / "family"
    summary = json.loads((path / "summary.json").read_text())
    assert summary["steps"] == summary["versions_published"] == STEPS
    assert summary["replica_versions"] == [STEPS]
    assert summary["ledger"]["consumed"] == 4 * STEPS
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert [line["engine_learner_logprob_gap"] < 1e-3 for line in lines] == [True] * STEPS
    assert update_size(model, path / "adapter") > 0.05
