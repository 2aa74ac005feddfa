"""Arrow schemas of what travels between the stages: prompts, trajectories, scored trajectories.

Axes: P prompt tokens, T completion tokens, K auxiliary views, H hidden size.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from unisd_core.common.columns import all_finite

_TOKENS = pa.list_(pa.int32())
_FLOATS = pa.list_(pa.float32())

_VIEW_IDS = pa.field("view_ids", pa.list_(_TOKENS))
"""Prompts of the views: the teacher's, then the K auxiliary ones; a trajectory adds one negative
view where its row has any. The completion's ids follow each of them unchanged."""

PROMPT = pa.schema(
    [
        pa.field("uid", pa.string(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),  # index into the task's rows
        pa.field("prompt_ids", _TOKENS),  # (P,)
        _VIEW_IDS,
        pa.field("gold_ids", _TOKENS),  # the reference as a completion, end-of-turn token included
        pa.field("negative_ids", pa.list_(_TOKENS)),  # a view for each wrong reference
        # The setting whose limit the row exceeds; null where it is to be sampled.
        pa.field("left_out", pa.string()),
    ]
)
"""One question, ready to be sampled and scored."""


def fitting(prompts: pa.Table) -> pa.Table:
    """The rows of ``prompts`` (``PROMPT``) that are not left out."""
    return prompts.filter(prompts["left_out"].is_null())


TRAJECTORY = pa.schema(
    [
        pa.field("position", pa.int64(), nullable=False),  # of the visit in the ledger
        pa.field("attempt", pa.int32(), nullable=False),  # earlier tries of this visit
        pa.field("uid", pa.string(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("prompt_ids", _TOKENS),  # (P,)
        pa.field("completion_ids", _TOKENS),  # (T,), the end-of-turn token included
        pa.field("logprobs", _FLOATS),  # (T,) nats, under the policy that sampled
        pa.field("version_first", pa.int32()),  # policy version of the first sampled token
        pa.field("version_last", pa.int32()),  # and of the last
        pa.field("finish_reason", pa.string()),
        pa.field("source", pa.string()),  # "student", "teacher" or "gold" (not sampled)
        pa.field("replica", pa.int32()),  # that sampled it
        # Unix times; null where nobody sampled.
        pa.field("sampled_from", pa.float64()),
        pa.field("sampled_until", pa.float64()),
        _VIEW_IDS,
    ]
)
"""A sampled completion."""

SCORED = pa.schema(
    [
        *TRAJECTORY,
        pa.field("teacher_version", pa.int32()),
        # (T*H,), row-major; 64-bit offsets, because a block of rows passes 2**31 numbers.
        pa.field("teacher_hidden", pa.large_list(pa.float32())),
        # States of other layers where features are matched on them: (T*L*H,).
        pa.field("teacher_features", pa.large_list(pa.float32())),
        # In place of hidden states: the k most likely tokens and their log-probs (T, k), and the
        # log-prob of each sampled token (T,).
        pa.field("teacher_topk_ids", pa.list_(_TOKENS)),
        pa.field("teacher_topk_logprobs", pa.list_(_FLOATS)),
        pa.field("teacher_logprobs", _FLOATS),
        pa.field("auxiliary_logprobs", pa.list_(_FLOATS)),  # (K, T) nats
        pa.field("negative_logprobs", _FLOATS),  # (T,) nats; null without a negative view
        pa.field("score_seconds", pa.float32()),  # this row's share of the scorer's time
        pa.field("scored_from", pa.float64()),  # Unix times of the chunk it was read in
        pa.field("scored_until", pa.float64()),
        pa.field("score_memory", pa.int64()),  # the scorer's peak, bytes
        # Null until the agreement stage has seen the whole batch.
        pa.field("token_weights", _FLOATS),  # (T,)
        pa.field("sequence_weight", pa.float32()),
        # Divisor of the batch's disagreement; whole, because a resumed run goes on from it.
        pa.field("agreement_scale", pa.float64()),
        pa.field("batch", pa.int32()),  # the optimizer step that takes the row
    ]
)
"""A completion with what every view says about it."""

STATES = ("teacher_hidden", "teacher_features")
"""Columns of hidden states, which are all but a few numbers of a row."""

SCORED_BFLOAT16 = pa.schema(
    [
        pa.field(field.name, pa.large_list(pa.uint16())) if field.name in STATES else field
        for field in SCORED
    ]
)
"""``SCORED`` by a teacher that computes in bfloat16: its states travel as the bits that it had,
which is what whole numbers of 16 bits mean in these columns."""


def not_finite(table: pa.Table, columns: Iterable[str]) -> list[str | None]:
    """For each row the first of ``columns`` (numbers, or lists of them at any depth; null where
    there are none) that holds NaN or infinity, as "not finite: <column>", or None."""
    reasons: list[str | None] = [None] * table.num_rows
    for name in columns:
        # Whole columns first: row by row only where something is wrong.
        if all_finite(table[name]):
            continue
        for index, reason in enumerate(reasons):
            if reason is None and not all_finite(table[name].slice(index, 1)):
                reasons[index] = f"not finite: {name}"
    return reasons
