"""Agreement weights as columns of scored rollouts; knows no Ray."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

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


def row_agreement(table: pa.Table, settings: AgreementConfig) -> np.ndarray:
    """(B,) mean token agreement of each row; NaN where a view has no number for some token, which
    would otherwise leave the quantile of all rows without one."""
    broken = not_finite(table, ["auxiliary_logprobs"])
    sound = np.flatnonzero([reason is None for reason in broken])
    views = auxiliary_logprobs(table.select(["auxiliary_logprobs"]).take(sound))
    agreement = np.full(table.num_rows, np.nan)
    agreement[sound] = mean_token_agreement(views, settings)
    return agreement


def auxiliary_logprobs(table: pa.Table) -> list[np.ndarray]:
    """Per row the (K, T) log-probs of the sampled tokens under the auxiliary views."""
    return [
        np.asarray(views, dtype=np.float32) for views in table["auxiliary_logprobs"].to_pylist()
    ]
