"""The whole job on a tiny Qwen2: real vLLM engines, Ray Data, Ray Train, weights pushed back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.support.small_run import ROOT, small_run
from tests.support.tiny import make_tiny_model

TIMEOUT_S = 600

pytestmark = [pytest.mark.engine, pytest.mark.slow]


def command(model: Path, out: Path, name: str, *overrides: str) -> list[str]:
    return small_run(
        model,
        out,
        name,
        # A reference is longer than what the random model needs to be let say.
        "rollout.max_completion_length=140",
        "objective.divergence.clip=1.5",
        "training.batch_size=8",
        "training.learning_rate=1e-3",
        "evaluation.rows=4",
        "evaluation.teacher_rows=2",
        "evaluation.require_better_teacher=false",
        *overrides,
    )


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "qwen2", family="qwen2")


@pytest.fixture(scope="module")
def finished(model, tmp_path_factory):
    """A run with two replicas, two learner workers with a shard each, adapters as transport,
    completions of all sources and the best weights on validation rows as its result."""
    out = tmp_path_factory.mktemp("runs")
    done = run(
        command(
            model,
            out,
            "pair",
            "training.max_steps=6",
            "training.max_staleness=1",
            "generator.replicas=2",
            "generator.transport=adapter",
            "learner.workers=2",
            "learner.sharding=fsdp",
            "rollout.teacher_share=0.3",
            "rollout.gold_share=0.2",
            "training.save_steps=3",
            "evaluation.eval_steps=3",
            "evaluation.validation_rows=3",
            "evaluation.select=best",
            "outputs.merged_model=true",
        )
    )
    return out / "pair", done.stdout


def test_summary_tells_what_happened(finished):
    path, printed = finished
    summary = json.loads((path / "summary.json").read_text())
    assert summary["steps"] == 6
    assert summary["versions_published"] == 6
    # The best weights are served again under a number of their own.
    assert summary["replica_versions"] == [7, 7]
    assert 1 <= summary["staleness"]["max"] <= summary["staleness"]["limit"] == 1
    # Rows whose reference is over the limit are left out when their turn comes.
    over_limit = summary["ledger"].pop("filtered")
    assert over_limit <= 2
    assert summary["ledger"] == {
        "admitted": 48 + over_limit, "consumed": 48, "stale": 0, "failed": 0, "in_flight": 0,
    }  # fmt: skip
    assert set(summary["accuracy"]) == {"minitools_seen", "minitools_unseen"}
    assert all(value > 0 for value in summary["tokens_per_second"].values())
    assert all(value for value in summary["mechanisms"].values()), summary["mechanisms"]
    stages = summary["resources"]["stages"]
    assert all(use["peak_memory_bytes"] > 2**20 for use in stages.values()), stages
    for line in ("right on 2 training rows: student", "step 6/6", "staleness", "admitted"):
        assert line in printed


def test_every_step_is_logged_and_engine_and_learner_agree(finished):
    path, _ = finished
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 7))
    gaps = [
        line["engine_learner_logprob_gap"] for line in lines if "engine_learner_logprob_gap" in line
    ]
    assert gaps and max(gaps) < 1e-3
    assert list((path / "tensorboard").iterdir())


def test_validation_went_on_beside_training_and_chose_the_result(finished):
    path, _ = finished
    lines = [json.loads(line) for line in (path / "validation.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 6
    assert [line["best"] for line in lines] == [True, *[False] * (len(lines) - 1)]
    assert all(line["versions"][0] >= line["step"] and line["rows"] == 3 for line in lines)
    best, result = load_file(path / "best.safetensors"), path / "adapter/adapter_model.safetensors"
    for name, tensor in load_file(result).items():
        assert torch.equal(tensor, best[name])


def test_an_evaluation_of_the_run_repeats_its_final_answers(finished, model, tmp_path):
    path, _ = finished
    rest = command(model, tmp_path, "unused")[3:]
    evaluated = run(
        [
            sys.executable,
            str(ROOT / "pipelines" / "evaluate.py"),
            "--tasks=minitools",
            f"--weights={path}",
            f"--out={tmp_path / 'out'}",
            "--perplexity",
            *rest,
            "generator.transport=adapter",
        ]
    )
    assert "gold PPL" in evaluated.stdout
    for name in ("minitools_seen", "minitools_unseen"):
        again = pq.read_table(tmp_path / "out" / "answers" / f"{name}.parquet")
        final = pq.read_table(path / "evaluation" / f"final-{name}.parquet")
        for column in ("uid", "completion", "finished", "correct"):
            assert again[column].to_pylist() == final[column].to_pylist(), (name, column)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    scores = results["texts"]["minitools_seen"]
    assert 0 < scores["distance"]["value"] < 0.7
    assert scores["gold_fit"]["value"] > 1


def test_every_trained_row_is_on_disk_once(finished):
    path, _ = finished
    table = pq.read_table(path / "trajectories")
    assert table.num_rows == 48
    assert len(set(table["position"].to_pylist())) == 48
    assert set(table["source"].to_pylist()) == {"student", "teacher", "gold"}
    assert set(table["replica"].to_pylist()) == {-1, 0, 1}
    versions = table.select(["version_first", "version_last"]).to_pylist()
    assert all(row["version_first"] == row["version_last"] for row in versions)


def test_adapter_and_merged_model_load_in_plain_transformers(finished, model):
    path, _ = finished
    base = AutoModelForCausalLM.from_pretrained(model)
    ids = torch.tensor([[5, 9, 40, 77]])
    before = base(ids).logits
    after = PeftModel.from_pretrained(base, path / "adapter")(ids).logits
    assert (after - before).abs().max() > 1e-3
    merged = AutoModelForCausalLM.from_pretrained(path / "merged")(ids).logits
    torch.testing.assert_close(merged, after, atol=1e-4, rtol=1e-4)


def test_a_finished_run_is_not_overwritten(finished, model):
    path, _ = finished
    again = subprocess.run(
        command(model, path.parent, "pair"), capture_output=True, text=True, timeout=120
    )
    assert again.returncode == 2
    assert again.stderr.startswith("error: ") and "this run is finished" in again.stderr
    assert len(again.stderr.strip().splitlines()) == 1
