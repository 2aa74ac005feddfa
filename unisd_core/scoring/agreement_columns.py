"""Agreement weights as columns of scored rollouts; knows no Ray."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from unisd_core.common.schema import SCORED
from unisd_core.config.method import Config
from unisd_core.objective.agreement import agreement_weights
from unisd_core.scoring.rollout_filter import auxiliary_logprobs
from unisd_core.views.builder import auxiliary_count


def weighed(
    table: pa.Table, config: Config, batch: int, scale: float | None
) -> tuple[pa.Table, float | None]:
    """``table`` (``SCORED``) with the weights over all its rows (paper, section 2.1), and the scale
    they were divided by; ``scale`` is that of the batch before. Weights are 1 without views."""
    lengths = [len(ids) for ids in table["completion_ids"]]
    tokens, sequences = [np.ones(length) for length in lengths], np.ones(len(lengths))
    if auxiliary_count(config):
        views = auxiliary_logprobs(table)
        weights = agreement_weights(views, config.objective.agreement, scale)
        tokens, sequences, scale = weights.token_weights, weights.sequence_weight, weights.scale
    columns = {
        "token_weights": pa.array(list(map(np.float32, tokens)), pa.list_(pa.float32())),
        "sequence_weight": pa.array(np.float32(sequences)),
        "agreement_scale": pa.array([scale] * len(lengths), pa.float64()),
        "batch": pa.array([batch] * len(lengths), pa.int32()),
    }
    for name, column in columns.items():
        table = table.set_column(table.schema.get_field_index(name), SCORED.field(name), column)
    return table, scale
