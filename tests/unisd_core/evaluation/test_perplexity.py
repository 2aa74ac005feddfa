from __future__ import annotations

import math
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.families import FAMILIES
from tests.support.tiny import make_tiny_model
from tests.unisd_core.evaluation.texts import (
    limits,
    naive_logprobs,
    naive_sum,
    random_texts,
    same_everywhere,
    texts,
)
from unisd_core.common.errors import UserError
from unisd_core.evaluation.forward_pass import ForwardPass
from unisd_core.evaluation.perplexity import Perplexity, gold_fit, retention
from unisd_core.evaluation.texts import LeftOut, PromptCompletion, TextLimits
from unisd_core.evaluation.token_sums import TokenSums
from unisd_core.models.load import load_base

# Longer than Gemma's sliding window, in batches of unlike lengths.
LENGTHS = [(5, 9), (120, 3), (1, 1), (30, 40), (80, 70)]
SMALL = TextLimits(batch_tokens=200, chunk_tokens=7)


@pytest.fixture(scope="module")
def tiny(tiny_model: Path) -> ForwardPass:
    return ForwardPass.of(load_base(tiny_model))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_agrees_with_full_logits_in_float64(family: str, tmp_path: Path) -> None:
    rows = random_texts(LENGTHS)
    folder = make_tiny_model(tmp_path / family, family=family)
    found = gold_fit(ForwardPass.of(load_base(folder)), rows, SMALL)
    exact = load_base(folder)
    expected = [naive_sum(naive_logprobs(exact, text), text) for text in rows]
    counts = [completion for _, completion in LENGTHS]
    assert found.logprobs.tokens_B.tolist() == counts
    assert found.logprobs.sum_B == pytest.approx(np.array(expected), rel=1e-5)
    assert found.over_tokens == pytest.approx(math.exp(-sum(expected) / sum(counts)), rel=1e-5)
    each = [math.exp(-total / count) for total, count in zip(expected, counts, strict=True)]
    assert found.over_rows == pytest.approx(sum(each) / len(each), rel=1e-5)
    assert (
        retention(ForwardPass.of(load_base(folder)), rows, SMALL).over_tokens == found.over_tokens
    )


@settings(max_examples=30)
@given(texts, limits, st.randoms(use_true_random=False))
def test_neither_order_nor_batches_nor_chunks_matter(
    tiny: ForwardPass, rows: list[PromptCompletion], small: TextLimits, random: Random
) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)
    whole = gold_fit(tiny, rows)
    dealt = gold_fit(tiny, [rows[index] for index in order], small)
    expected = whole.logprobs.sum_B[order]
    assert dealt.logprobs.sum_B == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert dealt.over_tokens == pytest.approx(whole.over_tokens, rel=1e-5)
    assert dealt.over_rows == pytest.approx(whole.over_rows, rel=1e-5)


@pytest.mark.parametrize("vocabulary", [2, 251, 4097])
def test_a_model_that_knows_nothing_has_the_perplexity_of_its_vocabulary(vocabulary: int) -> None:
    rows = [PromptCompletion([0], [1]), PromptCompletion([1, 0], [0, 1, 1])]
    found = retention(same_everywhere([0.25] * vocabulary), rows)
    assert found.over_tokens == pytest.approx(vocabulary, rel=1e-5)
    assert found.over_rows == pytest.approx(vocabulary, rel=1e-5)
    assert found.interval(100, 0) == pytest.approx((vocabulary, vocabulary), rel=1e-5)


def test_only_the_completion_counts_and_so_does_its_last_token() -> None:
    # Token 0 has probability 3/4 and token 1 the rest.
    model = same_everywhere([math.log(3.0), 0.0])
    found = gold_fit(model, [PromptCompletion([1, 1, 1], [0, 0, 1]), PromptCompletion([0], [1])])
    assert found.over_tokens == pytest.approx(math.exp(-math.log(9 / 16 / 16) / 4), rel=1e-6)
    assert found.over_rows == pytest.approx(((64 / 9) ** (1 / 3) + 4) / 2, rel=1e-6)


def test_bounds_are_those_of_the_mean_log_prob_turned_round() -> None:
    logprobs = TokenSums(np.array([-1.0, -9.0, -4.0]), np.array([2, 3, 4]))
    found = Perplexity(logprobs, LeftOut(0, 0))
    low, high = found.interval(200, 0)
    assert (-math.log(high), -math.log(low)) == pytest.approx(logprobs.interval(200, 0))
    assert low < found.over_tokens < high


def test_completions_that_cannot_be_read_are_counted_and_change_nothing(tiny: ForwardPass) -> None:
    rows = random_texts([(3, 4), (2, 0), (9, 9), (4, 2)])
    found = retention(tiny, rows, TextLimits(max_tokens=10))
    kept = retention(tiny, [rows[0], rows[3]])
    assert found.left_out == LeftOut(empty=1, too_long=1)
    assert found.logprobs.sum_B[[0, 3]] == pytest.approx(kept.logprobs.sum_B, rel=1e-5)
    assert found.over_tokens == pytest.approx(kept.over_tokens, rel=1e-5)
    assert found.over_rows == pytest.approx(kept.over_rows, rel=1e-5)


def test_an_empty_reference_is_an_error(tiny: ForwardPass) -> None:
    with pytest.raises(UserError, match="row 1: the reference has no tokens"):
        gold_fit(tiny, random_texts([(3, 4), (2, 0)]))
