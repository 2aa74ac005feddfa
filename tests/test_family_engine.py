"""Two steps of the whole job per model family: sampled, scored, learned and pushed back.

Each family also takes a way through the job that the others do not.

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


def run(model: Path, out: Path, *overrides: str) -> str:
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
    return done.stdout


@torch.no_grad()
def update_size(model: Path, run_folder: Path) -> float:
    """Mean change of a log-prob by training, in nats."""
    ids_BT = torch.arange(8, 72).unsqueeze(0)
    base = AutoModelForCausalLM.from_pretrained(model)
    before_BTV = base(ids_BT).logits.log_softmax(-1)
    if (run_folder / "model").is_dir():
        trained = AutoModelForCausalLM.from_pretrained(run_folder / "model")
    else:
        trained = PeftModel.from_pretrained(base, run_folder / "adapter")
    after_BTV = trained(ids_BT).logits.log_softmax(-1)
    return float((after_BTV - before_BTV).abs().mean())


WAYS = {
    "qwen2": (
        "learner.workers=2",
        "learner.sharding=fsdp",
        "rollout.gold_share=0.25",
        # A reference is longer than what the random model is let say in the others.
        "rollout.max_completion_tokens=140",
        "model.max_view_tokens=1900",
    ),
    "llama3": (
        "generator.transport=adapter",
        "objective.divergence.top_k=16",
        "objective.features.weight=0",
        "objective.agreement.scale=running",
    ),
    "gemma3": (
        "model.finetune=full",
        # Every weight moves: the same rate would go much further.
        "training.learning_rate=1e-3",
        "views.auxiliary=induction",
        "views.induction.pool=3",
        "views.induction.max_tokens=8",
        "views.induction.examples=1",
        "views.negatives.source=generated",
        "views.negatives.max_tokens=8",
    ),
}


@pytest.mark.parametrize("family", WAYS)
def test_a_run_of_every_family_pushes_what_it_learned(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNISD_CACHE", str(tmp_path / "cache"))
    model = make_tiny_model(tmp_path / "model", family=family)
    printed = run(model, tmp_path, *WAYS[family])
    path = tmp_path / "family"
    summary = json.loads((path / "summary.json").read_text())
    assert summary["steps"] == summary["versions_published"] == STEPS
    assert summary["replica_versions"] == [STEPS]
    assert summary["ledger"]["consumed"] == 4 * STEPS
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    gaps = [line["engine_learner_logprob_gap"] for line in lines]
    assert len(gaps) == STEPS and max(gaps) < 1e-3
    # Far more than that gap, so that weights which did not arrive would show in it.
    assert update_size(model, path) > 0.01
    if family == "gemma3":
        # The random model writes nothing of use; the rule and solved examples stand in.
        assert "negatives.written" in printed and "induction.written" in printed
    if family == "llama3":
        assert all(0 < line["topk_mass"] < 1 for line in lines)
