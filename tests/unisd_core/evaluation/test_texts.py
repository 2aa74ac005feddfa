from __future__ import annotations

import pytest
import torch
from hypothesis import given

from tests.unisd_core.evaluation.texts import limits as some_limits
from tests.unisd_core.evaluation.texts import texts as some_texts
from unisd_core.common.errors import UserError
from unisd_core.evaluation.texts import LeftOut, PromptCompletion, TextLimits, batches, select
from unisd_core.models.acceleration.prefix_tree import PrefixTree


@given(some_texts, some_limits)
def test_every_text_is_in_one_batch_and_batches_keep_to_the_limit(
    texts: list[PromptCompletion], limits: TextLimits
) -> None:
    found = list(batches(texts, select(texts, limits).rows, limits))
    assert sorted(row for batch in found for row in batch.rows) == list(range(len(texts)))
    for batch in found:
        different = len(PrefixTree.of(batch.ids_BT).id_N)
        assert different <= limits.batch_tokens or len(batch.rows) == 1
        for row, ids_T in zip(batch.rows, batch.ids_BT.tolist(), strict=True):
            whole = [*texts[row].prompt_ids, *texts[row].completion_ids]
            assert ids_T[: len(whole)] == whole
        expected = [token for row in batch.rows for token in texts[row].completion_ids]
        assert batch.token_N.tolist() == expected


@given(some_texts, some_limits)
def test_a_token_is_predicted_from_the_place_before_it(
    texts: list[PromptCompletion], limits: TextLimits
) -> None:
    for batch in batches(texts, select(texts, limits).rows, limits):
        before_N = batch.predicting_BT.flatten().nonzero().squeeze(-1)
        assert torch.equal(batch.ids_BT.flatten()[before_N + 1], batch.token_N)


@given(some_texts, some_limits)
def test_sums_belong_to_their_texts(texts: list[PromptCompletion], limits: TextLimits) -> None:
    for batch in batches(texts, select(texts, limits).rows, limits):
        expected = [sum(texts[row].completion_ids) for row in batch.rows]
        assert batch.row_sums(batch.token_N) == expected


def test_what_cannot_be_read_is_counted_and_keeps_its_place() -> None:
    texts = [
        PromptCompletion([1] * 3, [2] * 6),
        PromptCompletion([1], []),
        PromptCompletion([1], [2, 3]),
        PromptCompletion([1] * 10, []),
    ]
    found = select(texts, TextLimits(max_tokens=8))
    assert found.rows == [2]
    assert found.tokens_B.tolist() == [0, 0, 2, 0]
    assert found.left_out == LeftOut(empty=2, too_long=1)
    assert select(texts, TextLimits(max_tokens=9)).rows == [2, 0]


def test_nothing_to_read_is_an_error_of_one_line() -> None:
    with pytest.raises(UserError) as error:
        select(
            [PromptCompletion([1], []), PromptCompletion([1, 2], [3, 4, 5])],
            TextLimits(max_tokens=4),
        )
    assert str(error.value) == (
        "none of 2 texts can be measured: 1 have no completion, 1 are too long; "
        "check the completions or raise max_tokens=4"
    )
    with pytest.raises(ValueError, match="no texts"):
        select([], TextLimits())
    with pytest.raises(ValueError, match="empty prompt"):
        select([PromptCompletion([1], [2]), PromptCompletion([], [2])], TextLimits())
