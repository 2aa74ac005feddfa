"""Tokens a second of a synthesis against the bare engine: python -m tests.benchmarks.synthesis

The same prompts, decoding and engine settings, in turn: vLLM's own ``LLM.generate`` in one process,
and ``pipelines/synthesize.py`` without scoring. Start-up is left out of both.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from actors.generator.engine import UNIPROC
from actors.synthesis.stages import FILL
from pipelines.synthesis.cpu_engines import ENGINES
from tests.support.small_run import ROOT
from unisd_core.models.fetch import resolve_model
from unisd_core.models.load import load_tokenizer, stop_token_ids
from unisd_core.tasks.registry import load_task

MODEL, TOKENS, PLACES, SHARD = "HuggingFaceTB/SmolLM2-135M-Instruct", 64, 64, 32


def prompts(count: int) -> list[str]:
    """Questions of minitools."""
    return [row.prompt for row in load_task("minitools", None, 0).rows("train")[:count]]


def raw(count: int) -> float:
    """Tokens a second of ``LLM.generate``; run in a process of its own."""
    from vllm import LLM, SamplingParams

    folder = resolve_model(MODEL)
    tokenizer = load_tokenizer(folder)
    engine = LLM(
        str(folder), dtype="float32", max_model_len=2048, max_num_seqs=PLACES, enforce_eager=True,
        enable_prefix_caching=False, enable_chunked_prefill=False, max_num_batched_tokens=2048,
        kv_cache_memory_bytes=2**30, distributed_executor_backend=UNIPROC,
    )  # fmt: skip
    ids = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, return_dict=False
        )
        for prompt in prompts(count)
    ]
    decoding = [
        SamplingParams(
            temperature=0.9, max_tokens=TOKENS, seed=number, logprobs=0, detokenize=False,
            stop_token_ids=list(stop_token_ids(folder, tokenizer)),
        )
        for number in range(count)
    ]  # fmt: skip
    inputs = [{"prompt_token_ids": one} for one in ids]
    engine.generate(inputs[:PLACES], decoding[:PLACES], use_tqdm=False)
    began = time.perf_counter()
    done = engine.generate(inputs, decoding, use_tqdm=False)
    seconds = time.perf_counter() - began
    return sum(len(one.outputs[0].token_ids) for one in done) / seconds


def ours(count: int, out: Path) -> float:
    """Tokens a second of the pipeline from its first shard to the last one at which all places of
    the engines were still taken: as many requests are half done at both ends."""
    rows = out / "rows.jsonl"
    lines = [{"uid": str(n), "prompt": prompt} for n, prompt in enumerate(prompts(count))]
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    command = [
        sys.executable, str(ROOT / "pipelines" / "synthesize.py"), "--preset=sdft",
        f"--input={rows}", f"--output={out / 'data'}", f"model.name_or_path={MODEL}",
        "rollout.temperature=0.9", "rollout.teacher_share=0",
        f"rollout.max_completion_length={TOKENS}", f"generator.max_num_seqs={PLACES}",
        f"synthesis.shard_prompts={SHARD}", "objective.agreement.level=off",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    times = []
    assert process.stdout is not None
    for line in process.stdout:
        if "prompts | kept" in line:
            times.append(time.perf_counter())
    assert process.wait() == 0
    summary = json.loads((out / "data" / "summary.json").read_text())
    last = len(times) - 1 - ENGINES * PLACES // SHARD
    tokens = summary["sampled_tokens"] / len(times)
    return tokens * last / (times[last] - times[0])


def main() -> None:
    """Print both and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=512)
    parser.add_argument("--raw", action="store_true", help="only the bare engine, in this process")
    args = parser.parse_args()
    if not args.raw and args.prompts < (least := 2 * FILL * ENGINES * PLACES):
        parser.error(f"--prompts must be at least {least}, or the engine is never in its stride")
    if args.raw:
        print(json.dumps(raw(args.prompts)))
        return
    rates: dict[str, list[float]] = {"raw": [], "ours": []}

    def run_raw() -> None:
        command = [sys.executable, "-m", "tests.benchmarks.synthesis", "--raw"]
        done = subprocess.run(
            [*command, f"--prompts={args.prompts}"], cwd=ROOT, text=True, check=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=os.environ | {"VLLM_ENABLE_V1_MULTIPROCESSING": "0",
                 "VLLM_CPU_OMP_THREADS_BIND": "nobind"},
        )  # fmt: skip
        rates["raw"].append(float(done.stdout.splitlines()[-1]))

    run_raw()
    rates["ours"].append(ours(args.prompts, Path(tempfile.mkdtemp(prefix="unisd-synthesis-"))))
    run_raw()
    for name, found in rates.items():
        print(f"{name}: {', '.join(f'{rate:.1f}' for rate in found)} tokens/s")
    print(f"ratio {rates['ours'][0] / (sum(rates['raw']) / 2):.2f}")


if __name__ == "__main__":
    main()
