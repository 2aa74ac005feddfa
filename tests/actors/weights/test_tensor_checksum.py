"""The checksum of tensors changes with every fault, and with nothing else."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from actors.weights import tensor_checksum
from actors.weights.tensor_checksum import TensorChecksum

TYPES = [torch.float32, torch.bfloat16, torch.float64, torch.int8]


def checksum(*named: tuple[str, torch.Tensor]) -> str:
    taken = TensorChecksum()
    for name, tensor in named:
        taken.add(name, tensor)
    return taken.hexdigest()


def numbers(values: Iterable[float], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.tensor(list(values), dtype=dtype)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("place", [0, 6, 7, 29])
def test_one_bit_changes_it(
    dtype: torch.dtype, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensor_checksum, "CHUNK", 7)
    whole = torch.arange(30).to(dtype)
    before = checksum(("a", whole))
    for bit in range(8 * whole.element_size()):
        broken = whole.clone()
        broken[place : place + 1].view(torch.uint8)[bit // 8] ^= 1 << bit % 8
        assert checksum(("a", broken)) != before


@given(st.permutations(range(6)))
def test_another_order_of_the_elements_changes_it(order: list[int]) -> None:
    same = order == list(range(6))
    assert (checksum(("a", numbers(order))) == checksum(("a", numbers(range(6))))) is same


def test_names_types_shapes_and_order_count() -> None:
    a, b = numbers(range(6)), numbers(range(6, 12))
    others = [
        [("a", b), ("b", a)], [("b", b), ("a", a)], [("a", a)], [("a", a), ("b", b), ("c", a[:0])],
        [("a", a.reshape(2, 3)), ("b", b)], [("a", a.view(torch.int32)), ("b", b)],
    ]  # fmt: skip
    found = {checksum(("a", a), ("b", b)), *(checksum(*other) for other in others)}
    assert len(found) == 1 + len(others)


def test_how_it_lies_in_memory_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    square = torch.randn(5, 5, dtype=torch.bfloat16, generator=torch.Generator().manual_seed(0))
    packed = torch.cat([torch.zeros(1, dtype=torch.bfloat16), square.flatten()])
    expected = checksum(("a", square), ("scalar", square[0, 0]))
    assert checksum(("a", square.T.contiguous().T), ("scalar", square[0, 0].clone())) == expected
    assert checksum(("a", packed[1:].view(5, 5)), ("scalar", packed[1])) == expected
    monkeypatch.setattr(tensor_checksum, "CHUNK", 4)
    assert checksum(("a", square), ("scalar", square[0, 0])) == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_it_is_the_same_on_a_gpu() -> None:
    tensor = torch.randn(1000, 77, dtype=torch.bfloat16)
    assert checksum(("a", tensor)) == checksum(("a", tensor.cuda()))
