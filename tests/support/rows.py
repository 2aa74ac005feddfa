"""Scored rows for tests of the stages that read them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from unisd_core.common.schema import SCORED, TRAJECTORY


def trajectories(count: int, views: int = 4, seed: int = 0, vocabulary: int = 250) -> pa.Table:
    """``count`` sampled rows with random ids, lengths and behaviour log-probs."""
    rng = np.random.default_rng(seed)

    def ids(low: int, high: int) -> list[int]:
        return rng.integers(3, vocabulary, rng.integers(low, high)).tolist()

    rows = []
    for position in range(count):
        completion = ids(2, 9)
        rows.append(
            {
                "position": position,
                "attempt": 0,
                "uid": f"row-{position}",
                "row": position,
                "prompt_ids": ids(5, 15),
                "view_ids": [ids(10, 30) for _ in range(views)],
                "completion_ids": completion,
                "logprobs": (-rng.random(len(completion))).tolist(),
                "version_first": 0,
                "version_last": 0,
                "finish_reason": "stop",
                "source": "student",
                "replica": 0,
            }
        )
    return pa.Table.from_pylist(rows, schema=TRAJECTORY)


def scored(count: int, hidden: int = 64, auxiliary: int = 2, seed: int = 0) -> pa.Table:
    """``count`` rows as the agreement stage emits them, with random scores and weights."""
    rng = np.random.default_rng(seed + 1)
    rows = trajectories(count, seed=seed).to_pylist()
    for row in rows:
        tokens = len(row["completion_ids"])
        row |= {
            "teacher_version": 0,
            "teacher_hidden": rng.standard_normal(tokens * hidden).tolist(),
            "agreement_scale": 1.0,
            "auxiliary_logprobs": (-rng.random((auxiliary, tokens))).tolist(),
            "negative_logprobs": (-3 * rng.random(tokens)).tolist(),
            "score_seconds": 0.1,
            "score_memory": 1000,
            "token_weights": (0.2 + 0.8 * rng.random(tokens)).tolist(),
            "sequence_weight": 1.0,
            "batch": 0,
        }
    return pa.Table.from_pylist(rows, schema=SCORED)
