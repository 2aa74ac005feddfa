"""From scored rows to micro-batches: grouping by length, and the tensors the terms need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from unisd_core.common.columns import row_values
from unisd_core.models.acceleration.prefix_tree import by_tokens
from unisd_core.objective.divergence import TopK
from unisd_core.objective.terms import MicroBatch

ScoredRow = dict[str, Any]

PLAIN = ("prompt_ids", "completion_ids", "teacher_version", "source", "version_first",
         "version_last", "sequence_weight")  # fmt: skip
NUMBERS = ("teacher_hidden", "teacher_features", "teacher_topk_ids", "teacher_topk_logprobs",
           "teacher_logprobs", "negative_logprobs", "logprobs", "token_weights")  # fmt: skip
"""Columns of ``SCORED`` that an update reads, as Python values and as tensors."""


def scored_rows(table: pa.Table) -> list[ScoredRow]:
    """The rows of ``table`` (``SCORED``) as micro-batches take them: ids as lists, and other
    numbers as flat tensors that share the table's memory. Nobody may write to them."""
    rows: list[ScoredRow] = table.select(PLAIN).to_pylist()
    for name in NUMBERS:
        for row, values in zip(rows, row_values(table[name]), strict=True):
            row[name] = None if values is None else _tensor(values)
    return rows


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

    def flat(name: str) -> Tensor:
        # One row on the learner's own device is not copied.
        parts = [row[name].to(device) for row in rows]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def per_token(values: list[Any], dtype: torch.dtype) -> Tensor:
        return torch.as_tensor(np.repeat(np.asarray(values), counts), dtype=dtype, device=device)

    def given(name: str) -> bool:
        return rows[0][name] is not None

    negatives = [
        torch.zeros(count) if row["negative_logprobs"] is None else row["negative_logprobs"]
        for row, count in zip(rows, counts, strict=True)
    ]
    teacher_NH = flat("teacher_hidden").view(-1, width) if given("teacher_hidden") else None
    topk = None
    if given("teacher_topk_ids"):
        ids_NK, logprob_NK = (
            flat(name).view(sum(counts), -1)
            for name in ("teacher_topk_ids", "teacher_topk_logprobs")
        )
        topk = TopK(ids_NK.long(), logprob_NK, flat("teacher_logprobs"))
    teacher_layers_LNH = None
    if student_layers_LNH is not None:
        states_NLH = flat("teacher_features").view(-1, len(student_layers_LNH), width)
        teacher_layers_LNH = states_NLH.transpose(0, 1)
    return MicroBatch(
        student_hidden_NH=student_NH,
        teacher_hidden_NH=teacher_NH,
        token_N=torch.tensor([x for row in rows for x in row["completion_ids"]], device=device),
        row_N=per_token(list(range(len(rows))), torch.long),
        token_weight_N=flat("token_weights"),
        sequence_weight_R=torch.tensor([row["sequence_weight"] for row in rows], device=device),
        negative_logprob_N=torch.cat(negatives).to(device),
        has_negative_N=per_token(
            [row["negative_logprobs"] is not None for row in rows], torch.bool
        ),
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


def _tensor(values: pa.Array) -> Tensor:
    tensor = torch.from_dlpack(values)
    return tensor.view(torch.bfloat16) if tensor.dtype == torch.uint16 else tensor
