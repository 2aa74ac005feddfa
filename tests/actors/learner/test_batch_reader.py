"""Waiting for a batch ends: with it, with the stream, with its error, or with a reason."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from actors.learner.batch_reader import BatchReader


def reader(source: Iterator[Any], wanted: bool = True, limit_s: float = 5.0) -> BatchReader:
    return BatchReader(source, lambda: wanted, limit_s, look_s=0.01)


def stuck() -> Iterator[int]:
    yield 1
    threading.Event().wait(30)


def test_batches_come_in_order_and_only_on_demand() -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for number in range(3):
            taken.append(number)
            yield number

    batches = reader(source())
    assert taken == []
    assert [batches.next() for _ in range(2)] == [0, 1]
    assert taken == [0, 1]
    assert [batches.next() for _ in range(2)] == [2, None]


def test_a_batch_can_be_asked_for_ahead_of_the_wait() -> None:
    begun = threading.Event()

    def source() -> Iterator[int]:
        begun.set()
        yield from range(3)

    batches = reader(source())
    for number in range(3):
        batches.begin()
        batches.begin()
        assert begun.wait(5)
        assert batches.next() == number
    assert batches.next() is None


def test_a_stream_that_stands_still_is_named() -> None:
    batches = reader(stuck(), limit_s=0.05)
    assert batches.next() == 1
    with pytest.raises(TimeoutError, match="no batch within"):
        batches.next()


def test_nobody_waits_for_a_batch_that_is_not_wanted() -> None:
    batches = reader(stuck(), wanted=False)
    assert batches.next() == 1
    assert batches.next() is None


def test_the_streams_error_is_raised() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise ValueError("broken block")

    batches = reader(source())
    batches.next()
    with pytest.raises(ValueError, match="broken block"):
        batches.next()
