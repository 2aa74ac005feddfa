"""Log-probs of given tokens under an adapter while other requests are sampled, as after a push."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import torch

from actors.generator.engine import Engine
from actors.generator.types import Sampling
from tests.support.tiny import make_tiny_model
from unisd_core.config.run import Config
from unisd_core.config.stages import GeneratorConfig
from unisd_core.models.load import load_base
from unisd_core.models.lora import adapter_state, add_lora, save_adapter

pytestmark = [pytest.mark.engine, pytest.mark.slow]

IDS = [5, 9, 40, 77, 12, 33, 60, 8, 91, 14, 3]


def test_an_engine_gives_log_probs_under_an_adapter_while_it_samples(tmp_path: Path) -> None:
    folder, lora = make_tiny_model(tmp_path / "model"), Config().model.lora
    model = add_lora(load_base(folder), lora, seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
        logprob_TV = model(torch.tensor([IDS])).logits[0].log_softmax(-1)
    expected = [float(logprob_TV[place, token]) for place, token in enumerate(IDS[1:])]
    save_adapter(adapter_state(model), lora, folder, tmp_path / "adapter")

    async def scenario() -> None:
        engine = Engine(folder, "float32", 2048, GeneratorConfig(kv_cache_gib=0.125))
        await engine.start(lora.r, adapters=2)
        try:
            adapter = await engine.load_adapter("v1", tmp_path / "adapter")
            sampling = Sampling(0.9, 1.0, 40, 1, ())
            running = [
                asyncio.create_task(
                    engine.sample(str(n), [5, 6, n], sampling, adapter if n % 2 else None)
                )
                for n in range(12)
            ]
            for _ in range(5):
                assert await engine.prompt_logprobs(IDS, adapter) == pytest.approx(
                    expected, abs=1e-4
                )
            await asyncio.gather(*running)
        finally:
            engine.stop()

    asyncio.run(scenario())
