"""From scored rows to micro-batches: grouping by length, and the tensors the terms need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unisd_core.models.acceleration.prefix_tree import by_tokens
from unisd_core.objective.divergence import TopK
from unisd_core.objective.terms import MicroBatch

ScoredRow = dict[str, Any]


def group_by_length(
    rows: list[ScoredRow], limit: int, by_teacher: bool
) -> Iterator[list[ScoredRow]]:
    """Rows of similar length together, up to ``limit`` different tokens (but at least one row);
    with ``by_teacher`` never rows of different teacher versions."""

    def group(row: ScoredRow) -> int:
        return row["teacher_version"] if by_teacher else 0

    rows = sorted(rows, key=lambda row: (group(row), len(input_ids(row))))
    for _, alike in groupby(rows, group):
        yield from by_tokens(alike, input_ids, limit)


def micro_batch(
    rows: list[ScoredRow],
    student_NH: Tensor,
    student_layers_LNH: Tensor | None,
    *,
    version: int,
    global_rows: int,
    clip: float | None,
    teacher_head_VH: Tensor | None,
) -> MicroBatch:
    """Everything the terms need of ``rows``, flattened over rows; the student's states are given
    in the same order."""
    device, width = student_NH.device, student_NH.shape[1]
    counts = [len(row["completion_ids"]) for row in rows]

    def flat(name: str, dtype: torch.dtype = torch.float32) -> Tensor:
        joined = np.concatenate([np.asarray(row[name]) for row in rows])
        return torch.as_tensor(joined, dtype=dtype, device=device)

    def per_token(values: list[Any], dtype: torch.dtype) -> Tensor:
        return torch.as_tensor(np.repeat(np.asarray(values), counts), dtype=dtype, device=device)

    def given(name: str) -> bool:
        return rows[0][name] is not None

    negatives = [
        row["negative_logprobs"] or [0.0] * count for row, count in zip(rows, counts, strict=True)
    ]
    teacher_NH = flat("teacher_hidden").view(-1, width) if given("teacher_hidden") else None
    topk = None
    if given("teacher_topk_ids"):
        ids_NK, logprob_NK = flat("teacher_topk_ids", torch.long), flat("teacher_topk_logprobs")
        topk = TopK(ids_NK, logprob_NK, flat("teacher_logprobs"))
    teacher_layers_LNH = None
    if student_layers_LNH is not None:
        states_NLH = flat("teacher_features").view(-1, len(student_layers_LNH), width)
        teacher_layers_LNH = states_NLH.transpose(0, 1)
    return MicroBatch(
        student_hidden_NH=student_NH,
        teacher_hidden_NH=teacher_NH,
        token_N=flat("completion_ids", torch.long),
        row_N=per_token(list(range(len(rows))), torch.long),
        token_weight_N=flat("token_weights"),
        sequence_weight_R=torch.tensor([row["sequence_weight"] for row in rows], device=device),
        negative_logprob_N=torch.tensor([x for row in negatives for x in row], device=device),
        has_negative_N=per_token([bool(row["negative_logprobs"]) for row in rows], torch.bool),
        behaviour_logprob_N=flat("logprobs"),
        same_version_N=per_token([_served_by(row, version) for row in rows], torch.bool),
        stale_N=per_token([_stale(row, version) for row in rows], torch.bool),
        clip=clip,
        global_rows=global_rows,
        teacher_head_VH=teacher_head_VH,
        teacher_topk=topk,
        student_layers_LNH=student_layers_LNH,
        teacher_layers_LNH=teacher_layers_LNH,
    )


def input_ids(row: ScoredRow) -> list[int]:
    """Tokens the student reads for a row."""
    return [*row["prompt_ids"], *row["completion_ids"]]


def _served_by(row: Mapping[str, Any], version: int) -> bool:
    """Whether engine and learner log-probs of the row are comparable at this version."""
    return row["source"] == "student" and row["version_first"] == row["version_last"] == version


def _stale(row: Mapping[str, Any], version: int) -> bool:
    return row["source"] == "student" and row["version_first"] < version
