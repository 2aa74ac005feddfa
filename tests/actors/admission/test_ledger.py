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
from unisd_core.common.visits import LostRow, Visit, VisitingOrder


def test_each_epoch_visits_every_row_once_in_a_new_order():
    order = VisitingOrder(rows=7, seed=3)
    first, second = ([order.row_of(p) for p in range(e * 7, e * 7 + 7)] for e in (0, 1))
    assert sorted(first) == sorted(second) == list(range(7))
    assert first != second
    assert first == [VisitingOrder(7, 3).row_of(p) for p in range(7)]


def test_a_filtered_row_returns_its_room_and_a_consumed_one_does_not():
    ledger = Ledger(rows=100, batch=4, staleness=0, steps=10, seed=0)
    admitted = ledger.admit(10)
    assert len(admitted) == 4 and ledger.room == 0
    ledger.end(admitted[0].visit, Outcome.FILTERED, "truncated")
    assert ledger.room == 1
    assert ledger.reasons == {"filtered: truncated": 1}
    (replacement,) = ledger.admit(10)
    ledger.advance([admission.visit for admission in [*admitted[1:], replacement]])
    assert ledger.version == 1 and ledger.room == 4


def test_a_visit_ends_once():
    ledger = Ledger(rows=10, batch=2, staleness=0, steps=5, seed=0)
    first, second = ledger.admit(2)
    assert ledger.end(first.visit, Outcome.FAILED, "x")
    assert not ledger.end(first.visit, Outcome.CONSUMED, "")
    with pytest.raises(ValueError, match="not open"):
        ledger.advance([first.visit, second.visit])


def test_lost_rows_are_named_by_uid_once_those_are_known():
    ledger = Ledger(rows=2, batch=2, staleness=0, steps=5, seed=0)
    first, second = ledger.admit(2)
    ledger.end(first.visit, Outcome.FILTERED, "truncated")
    assert ledger.lost == [LostRow(f"row {first.row}", 0, 0, 0, "truncated")]
    ledger.uids = ["a", "b"]
    ledger.end(second.visit, Outcome.FAILED, "no answer")
    assert ledger.lost == [
        LostRow(ledger.uids[first.row], 0, 0, 0, "truncated"),
        LostRow(ledger.uids[second.row], 1, 0, 0, "no answer"),
    ]


def test_rows_lost_where_two_epochs_meet_do_not_shuffle_the_prompts_again(monkeypatch):
    shuffles = 0

    class Counted(random.Random):
        def shuffle(self, order):
            nonlocal shuffles
            shuffles += 1
            super().shuffle(order)

    monkeypatch.setattr(random, "Random", Counted)
    ledger = Ledger(rows=8, batch=8, staleness=0, steps=5, seed=0)
    for lost in ledger.admit(8):
        ledger.end(lost.visit, Outcome.FILTERED, "truncated")
        ledger.admit(1)
    assert shuffles == 2


def test_an_outdated_attempt_is_refused():
    ledger = Ledger(rows=10, batch=2, staleness=1, steps=5, seed=0)
    first, _ = ledger.admit(2)
    ledger.requeue()
    assert not ledger.arrive(first.visit, 0)
    (again,) = ledger.admit(1)
    assert again.visit == Visit(first.visit.position, attempt=1)
    assert ledger.arrive(again.visit, 0)


def test_an_attempt_is_not_used_twice_by_two_restores_of_one_state():
    ledger = Ledger(rows=10, batch=2, staleness=1, steps=5, seed=0)
    ledger.admit(2)
    state = ledger.state()
    ledger.restore(state)
    ghosts = ledger.admit(2)
    ledger.restore(state)
    assert not any(ledger.arrive(ghost.visit, 0) for ghost in ghosts)
    again = ledger.admit(2)
    assert all(ledger.arrive(admission.visit, 0) for admission in again)


def test_a_position_handed_out_before_a_restore_gets_a_new_attempt():
    ledger = Ledger(rows=10, batch=2, staleness=1, steps=5, seed=0)
    state = ledger.state()
    ghosts = ledger.admit(4)
    ledger.restore(state)
    again = ledger.admit(4)
    assert [a.visit.position for a in again] == [a.visit.position for a in ghosts]
    assert not any(ledger.arrive(ghost.visit, 0) for ghost in ghosts)
    assert all(ledger.arrive(admission.visit, 0) for admission in again)


def test_a_row_of_a_version_that_was_rolled_back_is_refused():
    ledger = Ledger(rows=10, batch=2, staleness=1, steps=5, seed=0)
    first, _ = ledger.admit(2)
    assert not ledger.arrive(first.visit, version=1)
    assert ledger.counters()["stale"] == 1


def test_a_row_older_than_the_limit_is_refused_and_counted():
    ledger = Ledger(rows=50, batch=1, staleness=1, steps=50, seed=0)
    first, second = ledger.admit(2)
    ledger.advance([first.visit])
    (later,) = ledger.admit(1)
    ledger.advance([later.visit])
    assert not ledger.arrive(second.visit, version=0)
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
        for admission in ledger.admit(rng.randint(1, 5)):
            if rng.random() < loss:
                ledger.end(admission.visit, Outcome.FILTERED, "loss")
            else:
                waiting.append(admission)
        if len(waiting) >= batch and rng.random() < 0.7:
            step, waiting = waiting[:batch], waiting[batch:]
            for admission in step:
                assert ledger.version - admission.min_version <= staleness
            ledger.advance([admission.visit for admission in step])
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
            assert all(ledger.version - one.min_version <= staleness for one in step)
            taken = step[: rng.randint(0, batch)]
            if taken:
                ledger.advance([admission.visit for admission in taken])
            for admission in step[len(taken) :]:
                assert ledger.end(admission.visit, Outcome.FAILED, "bad")
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
        admission = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        if self.ledger.arrive(admission.visit, self.ledger.version):
            self.held.append(admission)

    @precondition(lambda self: self.open)
    @rule(outcome=st.sampled_from([Outcome.FILTERED, Outcome.FAILED, Outcome.STALE]))
    def lose(self, outcome: Outcome) -> None:
        assert self.ledger.end(self.open.pop(0).visit, outcome, "x")

    @precondition(lambda self: len(self.held) >= self.ledger.batch)
    @rule()
    def step(self) -> None:
        size = self.ledger.batch
        batch, self.held = self.held[:size], self.held[size:]
        positions = {admission.visit.position for admission in batch}
        assert not positions & self.ever_consumed
        self.ledger.advance([admission.visit for admission in batch])
        self.ever_consumed |= positions

    @rule()
    def restart_stream(self) -> None:
        self.ledger.requeue()
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
