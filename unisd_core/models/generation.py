"""Sampling of completions in this process, with a model of transformers and no engine."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import TopKLogitsWarper, TopPLogitsWarper

from unisd_core.common.completion import Completion
from unisd_core.config.run import RolloutConfig


@torch.no_grad()
def sample_completions(
    model: nn.Module,
    prompts: Sequence[list[int]],
    seeds: Sequence[int],
    settings: RolloutConfig,
    stop_token_ids: Sequence[int],
    version: int = 0,
) -> list[Completion]:
    """One completion for each of ``prompts``, sampled together by ``model`` as ``version``.

    The draws of each depend on its seed alone. As from an engine, the end-of-turn token is part of
    a completion, and log-probs are those at temperature 1 over the whole vocabulary.
    """
    if not prompts:
        return []
    began = time.time()
    device = next(model.parameters()).device
    generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
    longest = max(map(len, prompts))
    padded = [[stop_token_ids[0]] * (longest - len(ids)) + ids for ids in prompts]
    step_BT = torch.tensor(padded, device=device)
    mask_BT = torch.tensor(
        [[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts], device=device
    )
    stops = torch.tensor(stop_token_ids, device=device)
    done_B = torch.zeros(len(prompts), dtype=torch.bool, device=device)
    cache = None
    tokens: list[Tensor] = []
    logprobs: list[Tensor] = []
    while len(tokens) < settings.max_completion_length and not done_B.all():
        position_BT = (mask_BT.cumsum(1) - 1).clamp(min=0)[:, -step_BT.shape[1] :]
        out = model(
            input_ids=step_BT,
            attention_mask=mask_BT,
            position_ids=position_BT,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache, logit_BV = out.past_key_values, out.logits[:, -1].float()
        token_B = _draw(logit_BV, generators, settings)
        tokens.append(token_B)
        logprobs.append(logit_BV.log_softmax(-1).gather(1, token_B[:, None])[:, 0])
        done_B |= torch.isin(token_B, stops)
        step_BT = token_B[:, None]
        mask_BT = torch.cat([mask_BT, torch.ones_like(step_BT)], dim=1)
    token_BT, logprob_BT = torch.stack(tokens, 1).tolist(), torch.stack(logprobs, 1).tolist()
    ended = time.time()
    return [
        _completion(ids, values, set(stop_token_ids), version, began, ended)
        for ids, values in zip(token_BT, logprob_BT, strict=True)
    ]


def _draw(
    logit_BV: Tensor, generators: Sequence[torch.Generator], settings: RolloutConfig
) -> Tensor:
    """(B,) one token of each row, drawn by its own generator."""
    scores_BV = logit_BV / settings.temperature
    if settings.top_k:
        scores_BV = TopKLogitsWarper(settings.top_k)(None, scores_BV)
    if settings.top_p < 1:
        scores_BV = TopPLogitsWarper(settings.top_p)(None, scores_BV)
    # The largest quotient of a probability and an exponential variate is a draw by probability.
    noise_BV = torch.empty_like(scores_BV)
    for row_V, generator in zip(noise_BV, generators, strict=True):
        row_V.exponential_(generator=generator)
    return (scores_BV.softmax(-1) / noise_BV).argmax(-1)


def _completion(
    ids: list[int],
    logprobs: list[float],
    stops: set[int],
    version: int,
    began: float,
    ended: float,
) -> Completion:
    """``ids`` up to and including the first stop token."""
    end = next((place for place, token in enumerate(ids) if token in stops), None)
    length = len(ids) if end is None else end + 1
    reason = "length" if end is None else "stop"
    return Completion(ids[:length], logprobs[:length], reason, version, version, 0, began, ended)
