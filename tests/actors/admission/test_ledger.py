"""The account of every prompt under arbitrary interleavings of admission, loss, steps and
restarts."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.admission.ledger import Admission, Ledger, Outcome
from tests.support.accounts import assert_account_closes


def test_each_epoch_visits_every_row_once_in_a_new_order():
    ledger = Ledger(rows=7, batch=4, staleness=0, steps=100, seed=3)
    first, second = ([ledger.row_of(p) for p in range(e * 7, e * 7 + 7)] for e in (0, 1))
    assert sorted(first) == sorted(second) == list(range(7))
    assert first != second
    assert first == [Ledger(7, 4, 0, 100, 3).row_of(p) for p in range(7)]


def test_a_filtered_row_returns_its_room_and_a_consumed_one_does_not():
    ledger = Ledger(rows=100, batch=4, staleness=0, steps=10, seed=0)
    tickets = ledger.admit(10)
    assert len(tickets) == 4 and ledger.room == 0
    ledger.end(tickets[0].position, 0, Outcome.FILTERED, "truncated")
    assert ledger.room == 1
    assert ledger.reasons == {"filtered: truncated": 1}
    (replacement,) = ledger.admit(10)
    kept = [*tickets[1:], replacement]
    ledger.advance([(ticket.position, ticket.attempt) for ticket in kept])
    assert ledger.version == 1 and ledger.room == 4


def test_a_visit_ends_once():
    ledger = Ledger(rows=10, batch=2, staleness=0, steps=5, seed=0)
    first, second = ledger.admit(2)
    assert ledger.end(first.position, 0, Outcome.FAILED, "x")
    assert not ledger.end(first.position, 0, Outcome.CONSUMED, "")
    with pytest.raises(ValueError, match="not open"):
        ledger.advance([(first.position, 0), (second.position, 0)])


def test_an_outdated_attempt_is_refused():
    ledger = Ledger(rows=10, batch=2, staleness=1, steps=5, seed=0)
    (ticket, _) = ledger.admit(2)
    ledger.repeat([ticket.position])
    assert not ledger.hold(ticket.position, ticket.attempt, 0)
    (again,) = ledger.admit(1)
    assert (again.position, again.attempt) == (ticket.position, 1)
    assert ledger.hold(again.position, again.attempt, 0)


def test_an_attempt_is_not_used_twice_by_two_restores_of_one_state():
    ledger = Ledger(rows=10, batch=2, staleness=1, steps=5, seed=0)
    ledger.admit(2)
    state = ledger.state()
    ledger.restore(state)
    ghosts = ledger.admit(2)
    ledger.restore(state)
    assert not any(ledger.hold(ghost.position, ghost.attempt, 0) for ghost in ghosts)
    again = ledger.admit(2)
    assert all(ledger.hold(ticket.position, ticket.attempt, 0) for ticket in again)


def test_a_position_handed_out_before_a_restore_gets_a_new_attempt():
    ledger = Ledger(rows=10, batch=2, staleness=1, steps=5, seed=0)
    state = ledger.state()
    ghosts = ledger.admit(4)
    ledger.restore(state)
    again = ledger.admit(4)
    assert [t.position for t in again] == [t.position for t in ghosts]
    assert not any(ledger.hold(ghost.position, ghost.attempt, 0) for ghost in ghosts)
    assert all(ledger.hold(ticket.position, ticket.attempt, 0) for ticket in again)


def test_a_row_of_a_version_that_was_rolled_back_is_refused():
    ledger = Ledger(rows=10, batch=2, staleness=1, steps=5, seed=0)
    (ticket, _) = ledger.admit(2)
    assert not ledger.hold(ticket.position, ticket.attempt, version=1)
    assert ledger.counters()["stale"] == 1


def test_a_row_older_than_the_limit_is_refused_and_counted():
    ledger = Ledger(rows=50, batch=1, staleness=1, steps=50, seed=0)
    tickets = ledger.admit(2)
    ledger.advance([(tickets[0].position, 0)])
    (later,) = ledger.admit(1)
    ledger.advance([(later.position, 0)])
    assert not ledger.hold(tickets[1].position, 0, version=0)
    assert ledger.counters()["stale"] == 1


def test_no_more_is_admitted_than_the_steps_need():
    ledger = Ledger(rows=50, batch=4, staleness=5, steps=2, seed=0)
    assert len(ledger.admit(100)) == 8


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 4), st.integers(1, 4), st.integers(0, 2**31), st.floats(0, 0.9))
def test_fifo_rows_are_never_older_than_the_limit(staleness, batch, seed, loss):
    """Rows served by exactly their minimum version, lost at random, trained in order of
    admission."""
    rng = random.Random(seed)
    ledger = Ledger(rows=13, batch=batch, staleness=staleness, steps=12, seed=0)
    waiting: list[Admission] = []
    while not ledger.finished:
        for ticket in ledger.admit(rng.randint(1, 5)):
            if rng.random() < loss:
                ledger.end(ticket.position, ticket.attempt, Outcome.FILTERED, "loss")
            else:
                waiting.append(ticket)
        if len(waiting) >= batch and rng.random() < 0.7:
            step, waiting = waiting[:batch], waiting[batch:]
            for ticket in step:
                assert ledger.version - ticket.min_version <= staleness
            ledger.advance([(ticket.position, ticket.attempt) for ticket in step])
        ledger.check()
    assert ledger.counters()["consumed"] == 12 * batch


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 4), st.integers(1, 4), st.integers(0, 2**31))
def test_rows_are_not_too_old_after_steps_that_left_some_out(staleness, batch, seed):
    """As above, with steps that take fewer rows than a batch has, or none of them."""
    rng = random.Random(seed)
    ledger = Ledger(rows=13, batch=batch, staleness=staleness, steps=12, seed=0)
    waiting: list[Admission] = []
    while not ledger.finished:
        waiting += ledger.admit(rng.randint(1, 5))
        assert ledger.in_flight <= (staleness + 1) * batch
        if len(waiting) >= batch and rng.random() < 0.7:
            step, waiting = waiting[:batch], waiting[batch:]
            assert all(ledger.version - ticket.min_version <= staleness for ticket in step)
            taken = step[: rng.randint(0, batch)]
            if taken:
                ledger.advance([(ticket.position, ticket.attempt) for ticket in taken])
            for ticket in step[len(taken) :]:
                assert ledger.end(ticket.position, ticket.attempt, Outcome.FAILED, "bad")
        ledger.check()
    assert ledger.counters()["consumed"] + ledger.counters()["failed"] == ledger.admitted


class Interleaving(RuleBasedStateMachine):
    """Any order of events keeps the account closed and the admission bound."""

    @initialize(batch=st.integers(1, 4), staleness=st.integers(0, 4))
    def start(self, batch: int, staleness: int) -> None:
        self.ledger = Ledger(rows=5, batch=batch, staleness=staleness, steps=6, seed=1)
        self.open: list[Admission] = []
        self.held: list[Admission] = []
        self.saved: tuple[dict, list] | None = None
        self.ever_consumed: set[int] = set()

    @rule(count=st.integers(1, 6))
    def admit(self, count: int) -> None:
        self.open += self.ledger.admit(count)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        ticket = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        if self.ledger.hold(ticket.position, ticket.attempt, self.ledger.version):
            self.held.append(ticket)

    @precondition(lambda self: self.open)
    @rule(outcome=st.sampled_from([Outcome.FILTERED, Outcome.FAILED, Outcome.STALE]))
    def lose(self, outcome: Outcome) -> None:
        ticket = self.open.pop(0)
        assert self.ledger.end(ticket.position, ticket.attempt, outcome, "x")

    @precondition(lambda self: len(self.held) >= self.ledger.batch)
    @rule()
    def step(self) -> None:
        size = self.ledger.batch
        batch, self.held = self.held[:size], self.held[size:]
        positions = {ticket.position for ticket in batch}
        assert not positions & self.ever_consumed
        self.ledger.advance([(ticket.position, ticket.attempt) for ticket in batch])
        self.ever_consumed |= positions

    @rule()
    def restart_stream(self) -> None:
        self.ledger.repeat()
        self.open, self.held = [], []

    @rule()
    def save(self) -> None:
        self.saved = (self.ledger.state(), sorted(self.ever_consumed))

    @precondition(lambda self: self.saved is not None)
    @rule()
    def resume(self) -> None:
        state, consumed = self.saved
        self.ledger.restore(state)
        self.open, self.held, self.ever_consumed = [], [], set(consumed)

    @invariant()
    def account_closes(self) -> None:
        if not hasattr(self, "ledger"):
            return
        ledger = self.ledger
        assert_account_closes(ledger)
        # Whatever is not finished can go on: something is open, or there is room.
        assert ledger.finished or ledger.in_flight or ledger.room


TestInterleaving = Interleaving.TestCase
TestInterleaving.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
