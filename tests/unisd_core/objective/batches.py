"""Small random micro-batches, and ways to deal them out."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor

from unisd_core.config.method import (
    ContrastiveConfig,
    DivergenceConfig,
    FeaturesConfig,
    ObjectiveConfig,
)
from unisd_core.objective.divergence import TopK, teacher_topk
from unisd_core.objective.terms import MicroBatch, objective

H, V, L = 5, 23, 3

OFF = ObjectiveConfig(
    divergence=DivergenceConfig(weight=0),
    contrastive=ContrastiveConfig(weight=0),
    features=FeaturesConfig(weight=0),
    chunk_tokens=3,
)


def only(**sections: Any) -> ObjectiveConfig:
    """An objective without any term but those given."""
    return OFF.model_copy(update=sections)


def head() -> Tensor:
    return torch.randn(V, H, generator=torch.Generator().manual_seed(99), dtype=torch.float64)


def micro_batch(lengths: list[int], seed: int = 0) -> MicroBatch:
    """Rows of the given lengths; states of L layers; the last row, if any, is not stale."""
    generator = torch.Generator().manual_seed(seed)
    N, R = sum(lengths), len(lengths)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    student = uniform(N, H) * 4 - 2
    row_has_negative = uniform(R) < 0.7
    row_N = torch.repeat_interleave(torch.arange(R), torch.tensor(lengths, dtype=torch.long))
    has_negative_N = row_has_negative[row_N]
    negative = -5 * uniform(N)
    weight = 0.2 + uniform(R)
    batch = MicroBatch(
        student_hidden_NH=student.requires_grad_(),
        teacher_hidden_NH=student.detach() + uniform(N, H) - 0.5,
        token_N=torch.randint(V, (N,), generator=generator),
        row_N=row_N,
        token_weight_N=0.05 + 0.95 * uniform(N),
        sequence_weight_R=weight / weight.mean(),
        negative_logprob_N=torch.where(has_negative_N, negative, torch.tensor(math.nan)),
        has_negative_N=has_negative_N,
        behaviour_logprob_N=-5 * uniform(N),
        same_version_N=uniform(N) < 0.5,
        stale_N=row_N < R - 1,
        clip=1.5,
        global_rows=R,
    )
    layers = uniform(L, N, H) * 4 - 2
    return dataclasses.replace(
        batch,
        student_layers_LNH=layers.clone().requires_grad_(),
        teacher_layers_LNH=layers + uniform(L, N, H) - 0.5,
    )


def with_topk(batch: MicroBatch, k: int, temperature: float = 1.0) -> MicroBatch:
    """The teacher's k most likely tokens in place of its hidden states."""
    assert batch.teacher_hidden_NH is not None
    topk = teacher_topk(batch.teacher_hidden_NH, head(), batch.token_N, k, temperature)
    return dataclasses.replace(batch, teacher_hidden_NH=None, teacher_topk=topk)


def tokens_of(batch: MicroBatch, tokens: Tensor) -> MicroBatch:
    """The given tokens in the given order; keeps the student's leaves."""
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(batch):
        value = getattr(batch, field.name)
        if isinstance(value, Tensor) and field.name.endswith(("_N", "_NH")):
            fields[field.name] = value[tokens]
        elif isinstance(value, Tensor) and field.name.endswith("_LNH"):
            fields[field.name] = value[:, tokens]
    if batch.teacher_topk is not None:
        fields["teacher_topk"] = TopK(*(value[tokens] for value in batch.teacher_topk))
    return dataclasses.replace(batch, **fields)


def rows_of(batch: MicroBatch, rows: list[int]) -> MicroBatch:
    """The given rows as a micro-batch of the same global batch; keeps the student's leaves."""
    wanted = [(batch.row_N == r).nonzero()[:, 0] for r in rows]
    part = tokens_of(batch, torch.cat([torch.empty(0, dtype=torch.long), *wanted]))
    renumber = torch.full((len(batch.sequence_weight_R),), -1)
    renumber[rows] = torch.arange(len(rows))
    return dataclasses.replace(
        part,
        row_N=renumber[part.row_N],
        sequence_weight_R=batch.sequence_weight_R[rows],
    )


def gradient(batch: MicroBatch, config: ObjectiveConfig) -> Tensor:
    """Gradient of the loss in the student's final hidden states."""
    loss = objective(batch, head(), config).loss
    return torch.autograd.grad(loss, batch.student_hidden_NH)[0]
