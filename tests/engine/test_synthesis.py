"""Data synthesis with the real engine: killed in the middle, resumed, read as training data."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.support.small_run import ROOT
from tests.support.tiny import make_tiny_model
from unisd_core.config.data import CustomConfig
from unisd_core.config.run import LoraConfig
from unisd_core.models.lora import save_adapter
from unisd_core.tasks.custom.task import CustomTask

TIMEOUT_S = 600
PROMPTS = 40
SAMPLES = 2

pytestmark = [pytest.mark.engine, pytest.mark.slow]


def command(model: Path, out: Path, prompts: Path, *overrides: str) -> list[str]:
    return [
        sys.executable,
        str(ROOT / "pipelines" / "synthesize.py"),
        f"--input={prompts}",
        f"--output={out}",
        f"model.name_or_path={model}",
        "model.max_prompt_length=300",
        "model.max_view_length=1000",
        "rollout.max_completion_length=24",
        "views.num_auxiliary=2",
        "generator.cpus=0.25",
        "generator.kv_cache_gib=0.25",
        "generator.max_num_seqs=4",
        "scorer.cpus=0.25",
        "synthesis.shard_prompts=5",
        f"synthesis.samples={SAMPLES}",
        *overrides,
    ]


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    rows = [
        {"uid": f"q{n}", "prompt": f"Say {n} twice.", "reference": f"{n} {n}"}
        for n in range(PROMPTS)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(arguments: list[str]) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def shards(out: Path) -> list[Path]:
    return sorted((out / "data").glob("shard-*.parquet"))


def kill_after_two_shards(arguments: list[str], out: Path) -> None:
    with (out.parent / "killed.log").open("wb") as log:
        driver = subprocess.Popen(
            arguments, stdout=log, stderr=log, cwd=ROOT, start_new_session=True
        )
    deadline = time.monotonic() + TIMEOUT_S
    while len(shards(out)) < 2:
        assert driver.poll() is None, (out.parent / "killed.log").read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    others = psutil.Process(driver.pid).children(recursive=True)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    # Ray's workers outlive it by some seconds, in which one may finish another shard.
    _, alive = psutil.wait_procs(others, timeout=TIMEOUT_S)
    assert not alive


def plain_logprobs(model: torch.nn.Module, prompt: list[int], completion: list[int]) -> np.ndarray:
    with torch.no_grad():
        logits = model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1)[range(len(completion)), completion].numpy()


def test_a_killed_synthesis_ends_with_every_prompt_once(prompts: Path, tmp_path: Path) -> None:
    model, out = make_tiny_model(tmp_path / "model"), tmp_path / "out"
    kill_after_two_shards(command(model, out, prompts), out)
    before = {path: path.read_bytes() for path in shards(out)}
    printed = run(command(model, out, prompts))
    assert f"{PROMPTS} prompts from prompts.jsonl, {5 * len(before)} of them done" in printed
    assert {path: path.read_bytes() for path in before} == before

    rows = pa.concat_tables([pq.read_table(path) for path in shards(out)]).to_pylist()
    keys = sorted((row["uid"], row["sample"]) for row in rows)
    assert keys == sorted((f"q{n}", s) for n in range(PROMPTS) for s in range(SAMPLES))
    reader = AutoModelForCausalLM.from_pretrained(model)
    for row in rows[:6]:
        expected = plain_logprobs(reader, row["prompt_ids"], row["token_ids"])
        np.testing.assert_allclose(row["logprobs"], expected, atol=1e-3)
        assert len(row["token_weights"]) == len(row["token_ids"])
        assert 0 < row["agreement"] <= 1
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["done"], summary["failed"], summary["kept"]) == (PROMPTS, 0, len(rows))
    assert "# Synthesised completions" in (out / "README.md").read_text()


def test_an_adapter_samples_and_its_rows_can_be_trained_on(prompts: Path, tmp_path: Path) -> None:
    model, out = make_tiny_model(tmp_path / "model"), tmp_path / "out"
    lora = LoraConfig(r=4, lora_alpha=8.0, target_modules=("q_proj",))
    weights = load_file(model / "model.safetensors")
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, weight in weights.items():
        if name.endswith("q_proj.weight"):
            stem = f"base_model.model.{name.removesuffix('weight')}"
            state[f"{stem}lora_A.weight"] = torch.randn(4, weight.shape[1], generator=generator)
            state[f"{stem}lora_B.weight"] = torch.randn(weight.shape[0], 4, generator=generator)
    save_adapter(state, lora, model, tmp_path / "adapter")
    options = (f"--weights={tmp_path / 'adapter'}", "filter.min_tokens=1", "synthesis.keep=1")
    run(command(model, out, prompts, *options))
    rows = pa.concat_tables([pq.read_table(path) for path in shards(out)]).to_pylist()
    # A random model may give a prompt nothing but special tokens.
    assert PROMPTS - 2 <= len(rows) <= PROMPTS
    assert {row["policy_version"] for row in rows} == {1}
    base = AutoModelForCausalLM.from_pretrained(model)
    row = max(rows, key=lambda row: len(row["token_ids"]))
    plain = plain_logprobs(base, row["prompt_ids"], row["token_ids"])
    assert np.abs(np.array(row["logprobs"]) - plain).max() > 0.01
    base.load_adapter(str(tmp_path / "adapter"))
    adapted = plain_logprobs(base, row["prompt_ids"], row["token_ids"])
    np.testing.assert_allclose(row["logprobs"], adapted, atol=1e-3)
    settings = CustomConfig(train=str(out / "train.jsonl"), test_rows=3, contradictions="keep")
    task = CustomTask(settings)
    assert len(task.rows("train")) + len(task.rows("test")) == len(rows)
