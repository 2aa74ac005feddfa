"""Attention in blocks of queries is attention."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from unisd_core.models.acceleration.causal_attention import BLOCK, BLOCKS, causal_attention


def naive(
    query_BHTD: Tensor, key_BGTD: Tensor, value_BGTD: Tensor, scale: float, window: int | None
) -> Tensor:
    """From the definition, in float64."""
    query, key, value = (x.double() for x in (query_BHTD, key_BGTD, value_BGTD))
    length, repeats = query.shape[2], query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(repeats, dim=1) for x in (key, value))
    back_TT = torch.arange(length)[:, None] - torch.arange(length)
    hidden_TT = (back_TT < 0) | (back_TT >= (window or length))
    score_BHTT = (query @ key.transpose(-1, -2) * scale).masked_fill(hidden_TT, -torch.inf)
    return score_BHTT.softmax(-1) @ value


@given(
    st.integers(1, 3 * BLOCK + 2), st.sampled_from([(4, 4), (4, 2), (3, 1)]),
    st.none() | st.integers(1, 2 * BLOCK), st.none() | st.just(0.3),
)  # fmt: skip
def test_it_is_the_definition(
    length: int, heads: tuple[int, int], window: int | None, scale: float | None
) -> None:
    torch.manual_seed(length)
    given = [torch.randn(2, heads[n], length, 8, requires_grad=True) for n in (0, 1, 1)]
    out_BHTD = causal_attention(*given, scale=scale, window=window)
    exact_BHTD = naive(*given, scale if scale is not None else 8**-0.5, window)
    torch.testing.assert_close(out_BHTD.double(), exact_BHTD, rtol=1e-4, atol=1e-5)
    weight_BHTD = torch.randn(out_BHTD.shape)
    ours = torch.autograd.grad((out_BHTD * weight_BHTD).sum(), given)
    exact = torch.autograd.grad((exact_BHTD * weight_BHTD).sum(), given)
    torch.testing.assert_close(ours, exact, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("length", [BLOCK * BLOCKS, BLOCK * BLOCKS + 1])
def test_long_rows_have_longer_blocks(length: int) -> None:
    given = [torch.randn(1, 1, length, 8) for _ in range(3)]
    out_BHTD = causal_attention(*given, scale=None)
    torch.testing.assert_close(
        out_BHTD.double(), naive(*given, 8**-0.5, None), rtol=1e-4, atol=1e-5
    )
