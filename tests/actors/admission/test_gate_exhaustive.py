"""Every order of events around the real gate, for small runs: no deadlock, no row too old.

The stages around the gate are modelled as they are built: slots ask in any order, are sampled in
any order by any version that is new enough, reach the agreement stage in order, lose rows to its
filter, and are trained on in order. A crash may come at any time; then the last checkpoint is
restored and a new stream opened.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from actors.admission.gate import Gate
from actors.admission.ledger import Admission
from tests.support.accounts import assert_account_closes
from tests.support.direct_client import DirectClient

MOST_STATES = 400_000


def answered(call: Coroutine[Any, Any, Any]) -> Any:
    """What a call answers that does not have to wait."""
    try:
        call.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("the call waits, and should have been answered at once")


@dataclass(frozen=True)
class Size:
    """``losses``: rows the filter may drop in all."""

    staleness: int
    batch: int
    chunk: int
    steps: int
    losses: int
    crashes: int = 0
    first_alone: bool = False

    @property
    def slots_at_once(self) -> int:
        return (self.staleness + 1) * self.batch // self.chunk + 1


@dataclass
class World:
    """One state of a run."""

    gate: Gate
    stream: int
    losses: int
    crashes: int
    saved: dict[str, Any]
    waiting: list[int] = field(default_factory=list)
    """Slots that have been sent off and not been answered by the gate."""
    sampling: dict[int, list[Admission]] = field(default_factory=dict)
    sampled: dict[int, list[tuple[Admission, int]]] = field(default_factory=dict)
    sent: int = 0
    delivered: int = 0
    batch: list[tuple[Admission, int]] = field(default_factory=list)
    """Rows the agreement stage has kept, with the versions they were sampled by."""

    def key(self) -> tuple[Any, ...]:
        return (
            self.gate.ledger.snapshot(), self.gate.next_slot, tuple(sorted(self.waiting)),
            repr(sorted(self.sampling.items())), repr(sorted(self.sampled.items())),
            self.delivered, repr(self.batch), self.losses, self.crashes, self.gate.first_is_back,
        )  # fmt: skip

    def fill(self, size: Size) -> None:
        """Ray Data sends off as many slots as may run at once; one that has been sampled makes
        room, though it is handed on in its turn only."""
        while len(self.waiting) + len(self.sampling) < size.slots_at_once:
            self.waiting.append(self.sent)
            self.sent += 1


def successors(world: World, size: Size) -> Iterator[World]:
    """Every state one event later."""

    def after() -> World:
        return copy.deepcopy(world)

    for slot in world.waiting:
        if world.gate.may_answer(world.stream, slot, size.chunk):
            new = after()
            new.waiting.remove(slot)
            admitted = answered(new.gate.admit(new.stream, slot, size.chunk))
            assert admitted
            new.sampling[slot] = admitted
            new.fill(size)
            yield new
    for slot, admitted in world.sampling.items():
        oldest = max((admission.min_version for admission in admitted), default=0)
        for version in {oldest, world.gate.ledger.version}:
            new = after()
            new.sampled[slot] = [(admission, version) for admission in new.sampling.pop(slot)]
            new.fill(size)
            yield new
    if world.delivered in world.sampled:
        rows = world.sampled[world.delivered]
        for drops in range(min(len(rows), world.losses) + 1):
            for dropped in {tuple(range(drops)), tuple(range(len(rows) - drops, len(rows)))}:
                new = after()
                del new.sampled[new.delivered]
                new.delivered += 1
                new.losses -= drops
                agree(new, rows, set(dropped))
                yield new
    if len(world.batch) >= size.batch:
        new = after()
        train(new, size)
        yield new
    if world.crashes:
        new = after()
        new.crashes -= 1
        answered(new.gate.restore(new.saved))
        new.stream = answered(new.gate.open_stream(()))
        new.waiting, new.sampling, new.sampled, new.batch = [], {}, {}, []
        new.sent = new.delivered = 0
        new.fill(size)
        yield new


def agree(world: World, rows: list[tuple[Admission, int]], dropped: set[int]) -> None:
    kept = [row for index, row in enumerate(rows) if index not in dropped]
    versions = {admission.visit: version for admission, version in kept}
    losses = {rows[index][0].visit: "dropped" for index in dropped}
    wanted = answered(world.gate.arrive(versions, losses))
    world.batch += [row for row, keep in zip(kept, wanted, strict=True) if keep]


def train(world: World, size: Size) -> None:
    rows, world.batch = world.batch[: size.batch], world.batch[size.batch :]
    version = world.gate.ledger.version
    assert all(version - sampled <= size.staleness for _, sampled in rows), "too old"
    answered(world.gate.consume([admission.visit for admission, _ in rows]))
    world.saved = answered(world.gate.state())


def explore(size: Size) -> int:
    """Visit every state that can be reached; returns how many there are."""
    gate = Gate(
        rows=50,
        batch=size.batch,
        staleness=size.staleness,
        steps=size.steps,
        seed=0,
        watchdog=DirectClient(None),  # which is told nothing
        first_alone=size.first_alone,
    )
    saved = answered(gate.state())
    first = World(gate, answered(gate.open_stream(())), size.losses, size.crashes, saved)
    first.fill(size)
    seen, frontier = {first.key()}, [first]
    while frontier:
        world = frontier.pop()
        assert_account_closes(world.gate.ledger)
        if world.gate.ledger.finished:
            continue
        moved = False
        for new in successors(world, size):
            moved = True
            if new.key() not in seen:
                seen.add(new.key())
                frontier.append(new)
        assert moved, f"deadlock: {world}"
        assert len(seen) < MOST_STATES
    return len(seen)


SIZES = [
    Size(staleness, batch, chunk, steps=2, losses=losses)
    for staleness, batch, chunk, losses in itertools.product(range(2), (1, 2), (1, 2), range(3))
    if batch % chunk == 0
] + [
    Size(staleness=0, batch=2, chunk=1, steps=2, losses=1, crashes=1),
    Size(staleness=1, batch=1, chunk=1, steps=3, losses=1, crashes=1),
    Size(staleness=2, batch=2, chunk=2, steps=4, losses=1),
    Size(staleness=3, batch=1, chunk=1, steps=5, losses=1),
    Size(staleness=4, batch=1, chunk=1, steps=6, losses=0),
    Size(staleness=1, batch=2, chunk=1, steps=2, losses=2, first_alone=True),
    Size(staleness=1, batch=2, chunk=1, steps=2, losses=1, crashes=1, first_alone=True),
    Size(staleness=2, batch=2, chunk=2, steps=4, losses=1, first_alone=True),
]
"""A limit above the number of steps limits nothing, hence more steps where it is larger."""


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_no_order_of_events_leads_to_a_deadlock_or_a_row_that_is_too_old(size: Size) -> None:
    assert explore(size) > size.steps
