"""The agreement stage: whole batches in order, whatever the chunks and the filter do."""

from __future__ import annotations

import asyncio

import numpy as np
import pyarrow as pa
import pytest

from actors.admission.gate import Gate
from actors.admission.ledger import Outcome
from actors.stream.agree import Agree
from actors.supervision.incidents import IncidentLog
from tests.support.direct_client import DirectClient
from tests.support.rows import scored
from unisd_core.common.columns import row_values
from unisd_core.common.errors import UserError
from unisd_core.common.visits import Visit
from unisd_core.config.run import Config
from unisd_core.scoring.rollout_filter import RolloutFilter


class RefusingGate:
    """Stands in for the gate's client; ``unwanted`` positions are refused."""

    def __init__(self, unwanted=()):
        self.unwanted, self.dropped = set(unwanted), {}

    def counters(self):
        return {"version": 5, "agreement_scale": None}

    def arrive(self, versions, dropped):
        self.dropped |= dropped
        return [visit.position not in self.unwanted for visit in versions]

    def close(self, losses, outcome):
        assert outcome is Outcome.FILTERED
        self.dropped |= losses


@pytest.fixture
def agree():
    def make(config: Config, unwanted=()):
        gate = RefusingGate(unwanted)
        stage = Agree(config, gate, "no model folder", watchdog=None)
        stage.monitored = True  # which needs an actor
        return stage, gate

    return make


def config(**changes) -> Config:
    base = {
        "views": {"num_auxiliary": 2},
        "training": {"batch_size": 4},
        "rollout": {"chunk_size": 2},
    }
    return Config.model_validate(base | changes)


def test_chunks_become_whole_batches_with_consecutive_numbers(agree):
    stage, _ = agree(config())
    table = scored(10)
    batches = [b for start in range(0, 10, 2) for b in stage(table.slice(start, 2))]
    assert [batch.num_rows for batch in batches] == [4, 4]
    assert [set(batch["batch"].to_pylist()) for batch in batches] == [{5}, {6}]
    positions = [p for batch in batches for p in batch["position"].to_pylist()]
    assert positions == list(range(8))


def test_states_stay_where_they_are(agree):
    stage, _ = agree(config(), unwanted=[1])
    table = scored(5)
    (batch,) = list(stage(table))
    before, after = (row_values(t["teacher_hidden"]) for t in (table, batch))
    addresses = [v.to_numpy().__array_interface__["data"] for v in (*before, *after)]
    assert addresses[5:] == [addresses[0], *addresses[2:5]]


def test_weights_do_not_depend_on_the_chunks(agree):
    table = scored(4)
    (whole,) = list(agree(config())[0](table))
    stage, _ = agree(config())
    (parts,) = [b for start in range(4) for b in stage(table.slice(start, 1))]
    assert whole["token_weights"].to_pylist() == parts["token_weights"].to_pylist()
    spread = np.std(np.concatenate(whole["token_weights"].to_pylist()))
    assert spread > 0.01


def test_refused_and_filtered_rows_are_replaced_by_later_ones(agree):
    settings = config(filter={"drop_truncated": True})
    stage, gate = agree(settings, unwanted=[1])
    rows = scored(6).to_pylist()
    rows[2]["finish_reason"] = "length"
    table = pa.Table.from_pylist(rows, schema=scored(1).schema)
    (batch,) = list(stage(table))
    assert batch["position"].to_pylist() == [0, 3, 4, 5]
    assert gate.dropped == {Visit(2, 0): "truncated"}


def test_one_view_weighs_every_token_the_same(agree):
    stage, _ = agree(config(views={"num_auxiliary": 1}))
    (batch,) = list(stage(scored(4, auxiliary=1)))
    assert set(np.concatenate(batch["token_weights"].to_pylist())) == {1.0}


def test_an_empty_completion_is_left_out():
    rows = scored(2).to_pylist()
    rows[0] |= {"completion_ids": [], "auxiliary_logprobs": [[], []]}
    table = pa.Table.from_pylist(rows, schema=scored(1).schema)
    assert RolloutFilter(config(), "no model folder").reasons(table) == ["empty completion", None]


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
@pytest.mark.parametrize("filters", [{}, {"min_agreement": 0.1, "lowest_agreement": 0.25}])
def test_a_view_without_a_number_costs_its_own_row_only(agree, poison, filters):
    settings = config(filter=filters, rollout={"chunk_size": 1})
    clean = scored(9)
    rows = clean.to_pylist()
    rows[2]["auxiliary_logprobs"][1][0] = poison
    poisoned = pa.Table.from_pylist(rows, schema=clean.schema)
    others = pa.concat_tables([clean.slice(0, 2), clean.slice(3)])
    stage, gate = agree(settings)
    batch, *_ = [b for start in range(9) for b in stage(poisoned.slice(start, 1))]
    assert gate.dropped.pop(Visit(2, 0)) == "not finite: auxiliary_logprobs"
    reference, without_it = agree(settings)
    expected, *_ = [b for start in range(8) for b in reference(others.slice(start, 1))]
    assert gate.dropped == without_it.dropped and bool(filters) == bool(gate.dropped)
    assert batch["position"].to_pylist() == expected["position"].to_pylist()
    assert batch["token_weights"].to_pylist() == expected["token_weights"].to_pylist()


LOSSES = {
    "empty completion": {"completion_ids": [], "logprobs": [], "auxiliary_logprobs": [[], []]},
    "truncated": {"finish_reason": "length"},
    "too short": {},
}


@pytest.mark.parametrize("reason", LOSSES)
def test_a_run_whose_rows_are_all_lost_ends_with_their_reason(reason):
    """Batch after batch of them, through the stage and the gate."""
    log = IncidentLog()
    gate = DirectClient(Gate(9, batch=4, staleness=0, steps=3, seed=0, watchdog=DirectClient(log)))
    filters = {"drop_truncated": True, "min_tokens": 99 if reason == "too short" else 0}
    settings = config(rollout={"chunk_size": 4}, filter=filters)
    stage = Agree(settings, gate, "no model folder", watchdog=None)
    stage.monitored = True  # which needs an actor
    stream = gate.open_stream([f"row-{row}" for row in range(9)])
    with pytest.raises(UserError, match=rf"84 rows in a row .*84 filtered: {reason}.*filter"):
        for slot in range(99):
            rows = scored(4).to_pylist()
            for row, admission in zip(rows, gate.admit(stream, slot, 4), strict=True):
                row |= {**admission.visit._asdict(), **LOSSES[reason]}
            assert list(stage(pa.Table.from_pylist(rows, schema=scored(1).schema))) == []
    assert gate.counters()["filtered"] == 84
    assert asyncio.run(log.failure()).lost[-1].position == 83


def test_a_view_without_a_number_does_not_change_whom_the_filter_takes():
    settings = config(filter={"lowest_agreement": 0.25})
    clean = scored(5)
    rows = clean.to_pylist()
    rows[2]["auxiliary_logprobs"][0][-1] = float("nan")
    poisoned = pa.Table.from_pylist(rows, schema=clean.schema)
    others = pa.concat_tables([clean.slice(0, 2), clean.slice(3)])
    found = RolloutFilter(settings, "no model folder").reasons(poisoned)
    assert found.pop(2) == "not finite: auxiliary_logprobs"
    assert found == RolloutFilter(settings, "no model folder").reasons(others)
    assert found.count("views disagree most") == 1


def test_an_empty_chunk_passes(agree):
    stage, _ = agree(config())
    assert list(stage(scored(1).slice(0, 0))) == []


def test_a_stream_that_begins_anew_goes_on_with_exactly_the_running_scale(agree):
    settings = config(objective={"agreement": {"scale": "running"}})
    first, second = scored(4, seed=1), scored(4, seed=2)
    stage, _ = agree(settings)
    ((before,), (expected,)) = (list(stage(table)) for table in (first, second))
    again, _ = agree(settings)
    again.scale = before["agreement_scale"][0].as_py()
    (resumed,) = list(again(second))
    assert resumed["agreement_scale"].to_pylist() == expected["agreement_scale"].to_pylist()
    assert resumed["token_weights"].to_pylist() == expected["token_weights"].to_pylist()
