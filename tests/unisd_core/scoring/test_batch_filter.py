"""Rows are compared within whole batches, whatever chunks they come in."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.rows import scored
from unisd_core.common.visits import visits_of
from unisd_core.config.run import Config
from unisd_core.objective.agreement import agreement_weights
from unisd_core.scoring.batch_filter import BatchFilter
from unisd_core.scoring.rollout_filter import RolloutFilter

SIZE = 8
ROWS = scored(120, seed=3)


def config(**filters: float) -> Config:
    return Config.model_validate(
        {"views": {"num_auxiliary": 2}, "training": {"batch_size": SIZE},
         "rollout": {"chunk_size": 1}, "filter": filters}
    )  # fmt: skip


def filtered(
    settings: Config, chunks: list[int], rows: pa.Table = ROWS
) -> tuple[list[list[int]], dict[int, str]]:
    """Positions of each batch, and of the rows left out, when rows come in these chunks."""
    batch_filter, start = BatchFilter(settings), 0
    batches, left_out = [], {}
    for size in chunks:
        batch_filter.add(rows.slice(start, size))
        start += size
        while (batch := batch_filter.next_batch()) is not None:
            assert batch.num_rows == SIZE
            batches.append(batch["position"].to_pylist())
        left_out |= batch_filter.take_left_out()
    assert batch_filter.take_left_out() == {}
    assert batch_filter.held == start - SIZE * len(batches) - len(left_out)
    return batches, {visit.position: reason for visit, reason in left_out.items()}


@given(
    st.lists(st.integers(1, 7), max_size=16),
    st.sampled_from([{}, {"lowest_agreement": 0.05}, {"lowest_agreement": 0.3},
                     {"min_agreement": 0.6}, {"min_agreement": 0.5, "lowest_agreement": 0.5}]),
)  # fmt: skip
def test_chunks_do_not_matter(chunks: list[int], filters: dict[str, float]) -> None:
    settings = config(**filters)
    batches, left_out = filtered(settings, chunks)
    whole, all_left_out = filtered(settings, [sum(chunks)])
    assert batches == whole and left_out == all_left_out


def test_a_share_below_one_row_of_a_chunk_is_taken_of_the_batch() -> None:
    _, left_out = filtered(config(lowest_agreement=0.3), [1] * SIZE)
    assert len(left_out) == 2 and set(left_out.values()) == {"views disagree most"}
    worst = RolloutFilter(config(lowest_agreement=0.3), "").reasons(ROWS.slice(0, SIZE))
    assert set(left_out) == {position for position, reason in enumerate(worst) if reason}


def test_rows_are_scaled_with_their_batch_and_not_alone() -> None:
    agreement = config().objective.agreement.model_copy(update={"gamma": 1.0, "level": "token"})
    views = [np.array(row, np.float32) for row in ROWS["auxiliary_logprobs"].to_pylist()]
    means = [w.mean() for w in agreement_weights(views[:SIZE], agreement).token_weights]
    bar = float(np.median(means))
    _, left_out = filtered(config(min_agreement=bar), [1] * SIZE)
    assert set(left_out) == {index for index, mean in enumerate(means) if mean < bar}


def test_rows_that_take_a_place_are_held_against_the_bar_of_their_batch() -> None:
    settings = config(lowest_agreement=0.5)
    (first, *_), left_out = filtered(settings, [1] * 60)
    judged = sorted({*first, *(position for position in left_out if position < max(first))})
    assert judged == list(range(max(first) + 1))
    agreement = settings.objective.agreement.model_copy(update={"gamma": 1.0, "level": "token"})
    views = [np.array(row, np.float64) for row in ROWS["auxiliary_logprobs"].to_pylist()]
    spread = [view.var(0, ddof=1) for view in views]
    scale = float(np.quantile(np.concatenate(spread[:SIZE]), agreement.quantile))
    means = [
        np.maximum(agreement.floor, 1 / (1 + np.minimum(s / scale, agreement.cap))).mean()
        for s in spread
    ]
    lowest = sorted(means[:SIZE])[SIZE // 2]
    assert all(means[position] >= lowest - 1e-9 for position in first)
    assert all(means[position] < lowest + 1e-9 for position in judged if position in left_out)


@pytest.mark.parametrize("filters", [{}, {"lowest_agreement": 0.3}])
def test_a_whole_batch_is_judged_as_the_row_filter_judges_it(filters: dict[str, float]) -> None:
    settings, batch = config(**filters), ROWS.slice(0, SIZE)
    _, left_out = filtered(settings, [SIZE])
    reasons = RolloutFilter(settings, "").reasons(batch)
    positions = [visit.position for visit in visits_of(batch)]
    assert left_out == {p: r for p, r in zip(positions, reasons, strict=True) if r}
