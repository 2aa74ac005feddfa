"""What rows begin with alike is read once, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.families import FAMILIES
from tests.tiny import make_tiny_model
from unisd_core import shared_prefix
from unisd_core.adapters import add_lora
from unisd_core.config import Lora
from unisd_core.models import backbone, layer_states, load_base

LAYERS = (0, 1, -1)


def rows(prefix: int, length: int, count: int = 4) -> Tensor:
    """Rows that have exactly their first ``prefix`` tokens in common."""
    ids_BT = torch.randint(11, 250, (count, length), generator=torch.Generator().manual_seed(3))
    ids_BT[:, :prefix] = ids_BT[0, :prefix]
    ids_BT[:, prefix] = torch.arange(20, 20 + count)
    return ids_BT


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("families") / request.param
    return make_tiny_model(folder, family=request.param)


def tokens_read(model: torch.nn.Module, ids_BT: Tensor) -> int:
    """Tokens that go through the first layer."""
    counts: list[int] = []
    embeddings = backbone(model).get_input_embeddings()
    hook = embeddings.register_forward_hook(lambda _, given, __: counts.append(given[0].numel()))
    layer_states(model, ids_BT, ())
    hook.remove()
    return sum(counts)


def gradients(model: torch.nn.Module, ids_BT: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """All states of the rows, and every parameter's gradient of something that reads them all."""
    model.zero_grad()
    last_BTH, layers_LBTH = layer_states(model, ids_BT, LAYERS)
    weight_BT1 = torch.linspace(-1, 2, ids_BT.numel()).view(*ids_BT.shape, 1)
    sum((states * weight_BT1).square().mean() for states in [last_BTH, *layers_LBTH]).backward()
    return [last_BTH, *layers_LBTH], [p.grad for p in model.parameters() if p.requires_grad]


@pytest.mark.parametrize("prefix", [12, 29])
def test_states_and_gradients_are_those_of_whole_rows(folder, prefix, monkeypatch):
    model = add_lora(load_base(folder), Lora(rank=4), seed=0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    ids_BT = rows(prefix, 30)
    states, grads = gradients(model, ids_BT)
    monkeypatch.setattr(shared_prefix, "SMALLEST_GAIN", 2.0)
    whole_states, whole_grads = gradients(model, ids_BT)
    torch.testing.assert_close(states, whole_states, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(grads, whole_grads, rtol=1e-3, atol=1e-5)
    assert max(float(grad.abs().max()) for grad in grads) > 1e-3


@torch.no_grad()
def test_the_prefix_is_read_once(folder):
    model = load_base(folder)
    slides = "gemma3" in str(folder)
    assert tokens_read(model, rows(12, 30)) == (120 if slides else 12 + 4 * 18)
    assert tokens_read(model, rows(12, 30)[:1]) == 30
    assert tokens_read(model, rows(1, 30)) == 120, "one token is not worth a pass"


@torch.no_grad()
def test_rows_that_are_all_alike_keep_a_token_each(folder):
    model = load_base(folder)
    ids_BT = rows(12, 30)[:1].expand(3, -1)
    alike_BTH, _ = layer_states(model, ids_BT, ())
    torch.testing.assert_close(
        alike_BTH, layer_states(model, ids_BT[:1], ())[0].expand(3, -1, -1), rtol=1e-4, atol=1e-5
    )
