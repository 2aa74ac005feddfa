"""The bare engine under other settings: python -m tests.benchmarks.engine_settings

SmolLM2-135M in float32 answers the prompts of ``synthesis.py``; the first line is what a run does.
Each variant has a process of its own, and all take turns ``--rounds`` times.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from actors.runtime.placement import computing_env
from tests.support.small_run import ROOT
from unisd_core.common.process import usable_cores

TCMALLOC = sorted(Path("/usr/lib").glob("*/libtcmalloc_minimal.so*"))
OPENMP = sorted(Path(sys.prefix, "lib").glob("libiomp5.so"))


def variants(cores: int) -> dict[str, dict[str, str]]:
    """What each sets in the environment of the engine."""
    usual = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(cores),
        "OMP_WAIT_POLICY": "PASSIVE",
        "TORCHDYNAMO_DISABLE": "1",
        # The last line of its output is the result.
        "VLLM_LOGGING_LEVEL": "ERROR",
    }
    allocator = computing_env(0).get("env_vars", {})
    found = {
        "as in a run": usual | allocator,
        "glibc's allocator": usual,
        "threads that spin": usual | allocator | {"OMP_WAIT_POLICY": "ACTIVE"},
        "bound to cores": usual | allocator | {"VLLM_CPU_OMP_THREADS_BIND": "auto"},
        "half the threads": usual | allocator | {"OMP_NUM_THREADS": str(max(1, cores // 2))},
        "in a process of its own": usual | allocator | {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"},
    }
    if TCMALLOC:
        found["tcmalloc"] = usual | {"LD_PRELOAD": str(TCMALLOC[0])}
    if OPENMP:
        found["Intel OpenMP"] = usual | {"LD_PRELOAD": str(OPENMP[0])}
    return found


def rate(environment: dict[str, str], prompts: int) -> float:
    """Tokens a second of ``LLM.generate`` in such an environment."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.synthesis", "--raw", f"--prompts={prompts}"],
        cwd=ROOT, text=True, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=os.environ | environment,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print a line for each variant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    every = variants(usable_cores())
    rates: dict[str, list[float]] = {name: [] for name in every}
    for _ in range(args.rounds):
        for name, environment in every.items():
            rates[name].append(rate(environment, args.prompts))
    base = statistics.median(rates["as in a run"])
    print("| engine | tokens/s | against a run's |")
    print("| --- | ---: | ---: |")
    for name, found in rates.items():
        median = statistics.median(found)
        spread = f"[{min(found):.0f}, {max(found):.0f}]"
        print(f"| {name} | {median:.0f} {spread} | {median / base:.2f} |")


if __name__ == "__main__":
    main()
