"""Filter and agreement weights in one call."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.support.rows import scored
from unisd_core.common.errors import UserError
from unisd_core.config.run import Config
from unisd_core.scoring.agree import agree
from unisd_core.scoring.agreement_columns import with_agreement_weights


def config(**changes) -> Config:
    return Config.model_validate({"views": {"num_auxiliary": 2}, **changes})


def cut_off(table: pa.Table, positions: list[int]) -> pa.Table:
    rows = table.to_pylist()
    for position in positions:
        rows[position]["finish_reason"] = "length"
    return pa.Table.from_pylist(rows, schema=table.schema)


def test_what_passes_the_filter_is_weighed_together() -> None:
    settings = config(filter={"drop_truncated": True})
    table = cut_off(scored(6), [1, 4])
    weighed = agree(table, settings, batch=3)
    assert weighed["position"].to_pylist() == [0, 2, 3, 5]
    expected, scale = with_agreement_weights(table.take([0, 2, 3, 5]), settings, 3, None)
    assert weighed.equals(expected) and scale is not None
    assert set(weighed["batch"].to_pylist()) == {3}


def test_a_running_scale_goes_on_from_the_batch_before() -> None:
    settings = config(objective={"agreement": {"scale": "running"}})
    first = agree(scored(4), settings)
    before = first["agreement_scale"][0].as_py()
    alone = agree(scored(4, seed=5), settings)["agreement_scale"][0].as_py()
    after = agree(scored(4, seed=5), settings, batch=1, scale=before)["agreement_scale"][0].as_py()
    assert after == pytest.approx(0.9 * before + 0.1 * alone) and before != alone


def test_answers_are_looked_for_where_the_filter_asks() -> None:
    settings = config(filter={"drop_unreadable": True})
    weighed = agree(scored(4), settings, parseable=lambda row, ids: row % 2 == 0)
    assert weighed["position"].to_pylist() == [0, 2]
    with pytest.raises(UserError, match=r"^filter\.drop_unreadable: agree\(\) needs parseable"):
        agree(scored(4), settings)


def test_a_filter_that_leaves_nothing_is_an_error() -> None:
    settings = config(filter={"min_tokens": 100})
    with pytest.raises(UserError, match="^filter: left out all 3 rollouts"):
        agree(scored(3), settings)
