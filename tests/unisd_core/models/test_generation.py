"""Sampling without an engine: its draws, its log-probs and its ends."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from unisd_core.common.completion import Completion
from unisd_core.config.run import LoraConfig, RolloutConfig
from unisd_core.models.generation import sample_completions
from unisd_core.models.load import load_base, load_tokenizer, stop_token_ids
from unisd_core.models.lora import add_lora

PROMPTS = [[70, 71, 72], [80], [90, 91, 92, 93, 94, 95, 96]]
SEEDS = [11, 2**61, 13]


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> PreTrainedModel:
    return load_base(tiny_model)


def sampled(
    model: torch.nn.Module, stops: list[int] | None = None, rows: slice = slice(None), **rollout
) -> list[Completion]:
    settings = RolloutConfig(**{"max_completion_length": 12, **rollout})
    return sample_completions(model, PROMPTS[rows], SEEDS[rows], settings, stops or [1], version=4)


def test_log_probs_are_those_of_the_whole_vocabulary_at_temperature_1(model) -> None:
    for prompt, completion in zip(PROMPTS, sampled(model, temperature=0.5, top_k=20), strict=True):
        ids = completion.token_ids
        with torch.no_grad():
            logit_TV = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
        expected_T = logit_TV.log_softmax(-1)[range(len(ids)), ids]
        assert completion.logprobs == pytest.approx(expected_T.tolist(), abs=1e-4)


def test_the_draws_of_a_completion_depend_on_its_seed_alone(model) -> None:
    together = sampled(model)
    alone = [sampled(model, rows=slice(n, n + 1))[0] for n in range(3)]
    assert [c.token_ids for c in together] == [c.token_ids for c in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
    settings = RolloutConfig(max_completion_length=12)
    (again,) = sample_completions(model, PROMPTS[:1], [12], settings, [1])
    assert again.token_ids != alone[0].token_ids


def test_a_completion_ends_with_its_first_stop_token_or_at_the_limit(model, tiny_model) -> None:
    first = sampled(model)[0].token_ids
    stops = [first[3], *stop_token_ids(tiny_model, load_tokenizer(tiny_model))]
    cut, *others = sampled(model, stops)
    assert cut.token_ids == first[: first.index(first[3]) + 1] and cut.finish_reason == "stop"
    assert len(cut.logprobs) == len(cut.token_ids)
    assert any(other.finish_reason == "length" and len(other.token_ids) == 12 for other in others)
    assert (cut.version_first, cut.version_last) == (4, 4)
    assert cut.began is not None and cut.ended is not None and cut.began <= cut.ended


def test_narrow_sampling_takes_the_most_likely_tokens(model) -> None:
    greedy = [completion.token_ids for completion in sampled(model, top_k=1)]
    assert greedy == [completion.token_ids for completion in sampled(model, top_p=1e-6)]
    assert greedy == [completion.token_ids for completion in sampled(model, temperature=1e-4)]
    assert greedy != [completion.token_ids for completion in sampled(model)]
    ids, prompt = greedy[0], PROMPTS[0]
    with torch.no_grad():
        logit_TV = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
    assert logit_TV.argmax(-1).tolist() == ids


def test_draws_follow_the_distribution(model) -> None:
    settings = RolloutConfig(temperature=0.8, max_completion_length=1)
    count = 4000
    drawn = sample_completions(model, [PROMPTS[0]] * count, list(range(count)), settings, [1])
    with torch.no_grad():
        logit_V = model(torch.tensor([PROMPTS[0]])).logits[0, -1] / 0.8
    expected_V = logit_V.softmax(-1)
    counts_V = torch.bincount(torch.tensor([c.token_ids[0] for c in drawn]), minlength=len(logit_V))
    largest = expected_V.topk(5).indices
    deviation = (expected_V * (1 - expected_V) / count).sqrt()
    assert ((counts_V / count - expected_V).abs()[largest] < 4 * deviation[largest]).all()


def test_an_adapter_is_sampled_with(tiny_model: Path) -> None:
    student = add_lora(load_base(tiny_model), LoraConfig(), seed=0)
    before = sampled(student)
    assert [c.token_ids for c in before] == [c.token_ids for c in sampled(load_base(tiny_model))]
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.1)
    assert [c.token_ids for c in sampled(student)] != [c.token_ids for c in before]


def test_nothing_is_sampled_of_no_prompts(model) -> None:
    assert sample_completions(model, [], [], RolloutConfig(max_completion_length=3), [1]) == []
