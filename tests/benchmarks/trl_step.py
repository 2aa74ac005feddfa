"""Steps of TRL's self-distillation trainer on the rows of ``step.py``; run by TRL's environment.

    <python with trl 1.16> tests/benchmarks/trl_step.py MODEL ROWS STEPS

Prints a line of JSON for each step: seconds since the one before, and sampled tokens.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from datasets import Dataset
from peft import LoraConfig
from transformers import TrainerCallback
from trl.experimental.sdft import SDFTConfig, SDFTTrainer

BATCH, TOKENS = 16, 32
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Clock(TrainerCallback):
    """Says how long each optimizer step took, sampling included."""

    def __init__(self) -> None:
        self.last = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        now = time.perf_counter()
        print(json.dumps({"seconds": now - self.last}), flush=True)
        self.last = now


def main(model: str, rows: str, steps: int) -> None:
    """Train for ``steps`` steps."""
    with open(rows, encoding="utf-8") as file:
        read = [json.loads(line) for line in file]
    data = Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": row["prompt"]}],
                "privileged_context": row["reference"],
            }
            for row in read
        ]
    )
    settings = SDFTConfig(
        output_dir="trl-out",
        per_device_train_batch_size=BATCH,
        gradient_accumulation_steps=1,
        gradient_checkpointing=False,
        max_steps=steps,
        num_generations=1,
        max_completion_length=TOKENS,
        generation_kwargs={"min_new_tokens": TOKENS},
        temperature=0.9,
        distillation_mode="full_logits",
        distillation_alpha=0.0,
        teacher_model_kind="base",
        model_init_kwargs={"dtype": "float32"},
        bf16=False,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        logging_steps=1000,
        disable_tqdm=True,
    )
    lora = LoraConfig(r=16, lora_alpha=32, target_modules=PROJECTIONS, task_type="CAUSAL_LM")
    SDFTTrainer(
        model=model, args=settings, train_dataset=data, peft_config=lora, callbacks=[Clock()]
    ).train()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
