from __future__ import annotations

import math
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.support.families import FAMILIES
from tests.support.tiny import make_tiny_model
from tests.unisd_core.evaluation.texts import (
    limits,
    naive_jsd,
    naive_logprobs,
    naive_sum,
    random_texts,
    same_everywhere,
    texts,
)
from unisd_core.config.run import LoraConfig
from unisd_core.evaluation.forward_pass import ForwardPass
from unisd_core.evaluation.model_distance import model_distance
from unisd_core.evaluation.perplexity import retention
from unisd_core.evaluation.texts import PromptCompletion, TextLimits
from unisd_core.models.load import hidden_states, lm_head_weight, load_base
from unisd_core.models.lora import add_lora

LENGTHS = [(5, 9), (120, 3), (1, 1), (30, 40), (80, 70)]
SMALL = TextLimits(batch_tokens=200, chunk_tokens=7)
ONE = [PromptCompletion([0], [0])]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[ForwardPass, ForwardPass]:
    """Two unlike models with the same vocabulary."""
    folder = tmp_path_factory.mktemp("pair")
    models = [load_base(make_tiny_model(folder / str(seed), seed)) for seed in (0, 1)]
    return ForwardPass.of(models[0]), ForwardPass.of(models[1])


def trained_model(folder: Path) -> torch.nn.Module:
    model = add_lora(load_base(folder), LoraConfig(r=4), seed=0).eval()
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(1)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    return model


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_adapter_on_and_off_agrees_with_full_logits_in_float64(family: str, tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / family, family=family)
    rows = random_texts(LENGTHS)
    model = trained_model(folder)
    found = model_distance(ForwardPass.of(model), ForwardPass.of_base(model), rows, SMALL)

    log_q = [naive_logprobs(model, text) for text in rows]
    exact = load_base(folder)
    log_p = [naive_logprobs(exact, text) for text in rows]
    jsd_B = [naive_jsd(q, p) for q, p in zip(log_q, log_p, strict=True)]
    assert found.jsd.sum_B == pytest.approx(np.array(jsd_B), rel=1e-5, abs=1e-5)
    assert found.jsd.mean == pytest.approx(sum(jsd_B) / sum(n for _, n in LENGTHS), rel=1e-5)
    assert found.jsd.mean > 1e-3
    for logprobs, tables in ((found.trained.logprobs, log_q), (found.base.logprobs, log_p)):
        expected = [naive_sum(table, text) for table, text in zip(tables, rows, strict=True)]
        assert logprobs.sum_B == pytest.approx(np.array(expected), rel=1e-5)


def test_one_module_reads_as_two_would(tiny_model: Path) -> None:
    rows, model = random_texts(LENGTHS), trained_model(tiny_model)
    shared = model_distance(ForwardPass.of(model), ForwardPass.of_base(model), rows, SMALL)
    base = ForwardPass.of(load_base(tiny_model))
    apart = model_distance(ForwardPass.of(model), base, rows, SMALL)
    assert np.array_equal(shared.jsd.sum_B, apart.jsd.sum_B)
    assert np.array_equal(shared.base.logprobs.sum_B, apart.base.logprobs.sum_B)
    alone = retention(ForwardPass.of_base(model), rows, SMALL)
    assert shared.base.over_tokens == pytest.approx(alone.over_tokens, rel=1e-6)


@settings(max_examples=20)
@given(texts, limits)
def test_equal_models_are_at_no_distance_and_retain_their_own_perplexity(
    pair: tuple[ForwardPass, ForwardPass], rows: list[PromptCompletion], small: TextLimits
) -> None:
    found = model_distance(pair[0], pair[0], rows, small)
    assert found.jsd.row_means_B.max() < 1e-6
    assert np.array_equal(found.base.logprobs.sum_B, found.trained.logprobs.sum_B)
    assert found.base.over_tokens == pytest.approx(retention(pair[0], rows, small).over_tokens)


@settings(max_examples=20)
@given(texts, limits, st.randoms(use_true_random=False))
def test_symmetric_bounded_and_free_of_order_batches_and_chunks(
    pair: tuple[ForwardPass, ForwardPass],
    rows: list[PromptCompletion],
    small: TextLimits,
    random: Random,
) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)
    there = model_distance(*pair, rows)
    back = model_distance(pair[1], pair[0], [rows[index] for index in order], small)
    assert back.jsd.sum_B == pytest.approx(there.jsd.sum_B[order], rel=1e-5, abs=1e-5)
    assert back.base.over_rows == pytest.approx(there.trained.over_rows, rel=1e-5)
    assert (there.jsd.row_means_B > 0).all()
    assert (there.jsd.row_means_B <= math.log(2) + 1e-6).all()


def test_known_divergences() -> None:
    sure, opposite, even = (
        same_everywhere(logits) for logits in ([60.0, 0.0], [0.0, 60.0], [1.0, 1.0])
    )
    assert model_distance(sure, opposite, ONE).jsd.mean == pytest.approx(math.log(2), rel=1e-6)
    # (1, 0) against (1/2, 1/2), with the mixture (3/4, 1/4).
    expected = (math.log(4 / 3) + math.log(2 / 3) / 2 + math.log(2) / 2) / 2
    assert model_distance(sure, even, ONE).jsd.mean == pytest.approx(expected, rel=1e-6)


def test_states_of_low_precision_are_compared_in_float32(tiny_model: Path) -> None:
    low, exact = load_base(tiny_model, "bfloat16"), load_base(tiny_model)
    [text] = random_texts([(20, 30)])
    found = model_distance(ForwardPass.of(low), ForwardPass.of(exact), [text])
    with torch.no_grad():
        states_BTH = hidden_states(low, torch.tensor([text.prompt_ids + text.completion_ids]))
        logits_TV = states_BTH[0, 19:-1].double() @ lm_head_weight(low).double().T
    log_q_TV = logits_TV.log_softmax(-1)
    assert found.jsd.sum_B[0] == pytest.approx(
        naive_jsd(log_q_TV, naive_logprobs(exact, text)), rel=1e-3
    )
    assert found.trained.logprobs.sum_B[0] == pytest.approx(naive_sum(log_q_TV, text), rel=1e-6)


class RowsOfLogits(TorchDispatchMode):
    """The most rows of any result that is as wide as the vocabulary; the head itself is none."""

    def __init__(self, head_VH: torch.Tensor) -> None:
        super().__init__()
        self.head_VH, self.rows = head_VH, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and self.is_logits(leaf):
                self.rows = max(self.rows, leaf.numel() // len(self.head_VH))
        return result

    def is_logits(self, found: torch.Tensor) -> bool:
        wide = found.shape[-1:] == self.head_VH.shape[:1]
        return wide and found.data_ptr() != self.head_VH.data_ptr()


def test_logits_exist_for_one_chunk_at_a_time(tmp_path: Path) -> None:
    model = load_base(make_tiny_model(tmp_path / "m", vocab_size=777))
    rows = random_texts([(30, 40), (20, 30)])
    with RowsOfLogits(lm_head_weight(model)) as logits:
        forward = ForwardPass.of(model)
        model_distance(forward, forward, rows, TextLimits(chunk_tokens=7))
        retention(forward, rows, TextLimits(chunk_tokens=7))
    assert logits.rows == 7


def test_vocabularies_must_be_of_one_size() -> None:
    with pytest.raises(ValueError, match="vocabularies of 3 and 2"):
        model_distance(same_everywhere([0.0] * 3), same_everywhere([0.0] * 2), ONE)
