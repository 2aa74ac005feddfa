"""Agreement weights as columns of scored rollouts; knows no Ray."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from unisd_core.common.columns import lengths, list_array, row_matrices, rows_where
from unisd_core.common.schema import SCORED, not_finite
from unisd_core.config.method import AgreementConfig
from unisd_core.config.run import Config
from unisd_core.objective.agreement import agreement_weights, mean_token_agreement
from unisd_core.views.builder import auxiliary_count


def with_agreement_weights(
    table: pa.Table, config: Config, batch: int, scale: float | None
) -> tuple[pa.Table, float | None]:
    """``table`` (``SCORED``) with the weights over all its rows (paper, section on multi-teacher
    agreement), and the scale they were divided by; ``scale`` is that of the batch before.
    Weights are 1 without views."""
    counts = lengths(table["completion_ids"])
    tokens, sequences = [np.ones(count) for count in counts], np.ones(len(counts))
    if auxiliary_count(config):
        views = row_matrices(table["auxiliary_logprobs"])
        weights = agreement_weights(views, config.objective.agreement, scale)
        tokens, sequences, scale = weights.token_weights, weights.sequence_weight, weights.scale
    columns = {
        "token_weights": list_array(
            [row.astype(np.float32) for row in tokens], pa.list_(pa.float32())
        ),
        "sequence_weight": pa.array(np.float32(sequences)),
        "agreement_scale": pa.array([scale] * len(counts), pa.float64()),
        "batch": pa.array([batch] * len(counts), pa.int32()),
    }
    for name, column in columns.items():
        table = table.set_column(table.schema.get_field_index(name), SCORED.field(name), column)
    return table, scale


def row_agreement(table: pa.Table, settings: AgreementConfig) -> np.ndarray:
    """(B,) mean token agreement of each row; NaN where a view has no number for some token, which
    would otherwise leave the quantile of all rows without one."""
    broken = not_finite(table, ["auxiliary_logprobs"])
    sound = np.array([reason is None for reason in broken], bool)
    views = row_matrices(rows_where(table, sound)["auxiliary_logprobs"])
    agreement = np.full(table.num_rows, np.nan)
    agreement[sound] = mean_token_agreement(views, settings)
    return agreement
