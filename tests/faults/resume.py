"""Killed at random points and resumed, with the same result: python -m tests.faults.resume

At staleness 0 the adapter of a run that was ended again and again equals, byte for byte, that of a
run that was left alone.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.job import Job, check, command, learnable
from tests.support.tiny import make_tiny_model

LIMIT_S = 300.0


def finished(job: Job, model: Path, steps: int) -> bytes:
    """The adapter of a finished run."""
    job.finish(LIMIT_S + 5.0 * steps)
    check(job.path, steps, staleness=0)
    return (job.path / "adapter" / "adapter_model.safetensors").read_bytes()


def main() -> int:
    """0 when the bytes are equal and neither processes nor files are left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument(
        "--references", action="store_true", help="half of the rows, and a moving teacher"
    )
    args = parser.parse_args()
    rng = random.Random(args.seed)
    out = args.out or Path(tempfile.mkdtemp(prefix="unisd-resume-"))
    out.mkdir(parents=True, exist_ok=True)
    model, steps = make_tiny_model(out / "model"), 3 * args.kills
    options = ["training.save_steps=1", "generator.replicas=1"]
    if args.references:
        # Chunks of one row: half of them ask no replica.
        options += [*learnable(out), "model.finetune=lora", "rollout.gold_share=0.5"]
        options += ["rollout.chunk_size=1", "teacher.ema_decay=0.9"]
    whole, torn = (
        Job(command(model, out, name, steps, 0, *options), out / name) for name in ("whole", "torn")
    )
    whole.start()
    expected = finished(whole, model, steps)
    for _ in range(args.kills):
        torn.start()
        before = torn.step()
        # Anywhere from the start of the processes to some steps further.
        if rng.random() < 0.2:
            time.sleep(rng.uniform(2, 20))
        else:
            torn.wait_for(min(before + rng.randint(1, 3), steps - 1), LIMIT_S)
            time.sleep(rng.uniform(0, 1.5))
        assert torn.driver is not None
        torn.processes()
        torn.driver.send_signal(signal.SIGKILL)
        torn.driver.wait()
        print(f"killed at step {torn.step()}", flush=True)
        if torn.step() >= steps - 1:
            break
    torn.start()
    equal = finished(torn, model, steps) == expected
    left = [*whole.left_behind(), *torn.left_behind()]
    print(f"adapters {'equal' if equal else 'differ'}; left behind: {left or 'nothing'}")
    return int(not equal or bool(left))


if __name__ == "__main__":
    sys.exit(main())
