"""The gate: the one actor that admits prompts and closes their accounts.

Everything it knows is the ledger's; it adds waiting. A waiter sleeps until
room appears and is told which prompts to sample, so that no stage downstream can
hold a place that nobody fills. Slots of a stream are served strictly in their order, because the
stream emits in that order: a later slot that took the room of an earlier one would
wait behind it for ever. So an event wakes the one slot whose turn it is, however many wait.

A gate that Ray restarted has forgotten the ledger. It refuses to answer, so that the learners start
again from their checkpoint, until it is given the one in there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from actors.admission.idle_time import IdleShares, IdleTimer
from actors.admission.ledger import Admission, Ledger, Lost, Outcome
from actors.runtime.calls import ActorClient, remote_method, restarted
from actors.runtime.metrics import record
from unisd_core.common.errors import UserError

BATCHES_WITHOUT_STEP = 20
"""Batches' worth of rows that may be lost in a row before the run is stopped."""


class Gate:
    """Async actor around :class:`Ledger`; all methods are safe to call concurrently, because none
    but :meth:`admit` waits for anything.

    ``stall_timeout_s`` is the longest time in seconds in which nothing at all happens. A gate that
    is not ``opened`` admits no prompts, so that stages and learners can start before they are to
    work.
    With ``first_alone`` the first batch of a stream is sampled and scored before the second begins.
    """

    def __init__(
        self,
        rows: int,
        batch: int,
        staleness: int,
        steps: int,
        seed: int,
        stall_timeout_s: float = 3600.0,
        opened: bool = True,
        first_alone: bool = False,
    ) -> None:
        self.forgot = restarted()
        self.opened = opened or self.forgot
        # Numbers that an earlier gate did not give out: what it admitted may still arrive here.
        first = int(time.time()) if self.forgot else 0
        self.ledger = Ledger(rows, batch, staleness, steps, seed, fence=first)
        self.stream = first
        self.stall_timeout_s = stall_timeout_s
        self.first_alone = first_alone
        self.first_is_back = False
        self.turns: dict[tuple[int, int], asyncio.Event] = {}
        self.broken: str | None = None
        self.next_slot = 0
        self.waiting = 0
        self.idle_clock = IdleTimer()
        self.events = 0
        self.lost_since_step = 0
        self.agreement_scale: float | None = None
        self.given_up: str | None = None

    async def open(self) -> None:
        """Let prompts in from now on."""
        self.opened = True
        self._notify()

    async def is_open(self) -> bool:
        """Whether prompts are let in."""
        return self.opened

    async def open_stream(self) -> int:
        """A new stream starts; returns its number.

        Whatever an earlier one left open is handed out again, and its waiters get nothing more.
        """
        self._check_memory()
        self._send_all_away()
        self.stream += 1
        self.broken = None
        self.next_slot = 0
        self.first_is_back = False
        self.ledger.repeat()
        self._notify()
        return self.stream

    async def admit(self, stream: int, slot: int, count: int) -> list[Admission]:
        """Wait for room for ``count`` prompts and take it; an empty list means: no more are needed.

        Fewer are handed out only when nothing else is being sampled, so that a batch that lost
        rows to a filter is always completed. Raises UserError when rows only get lost,
        RuntimeError when nothing has happened for too long.
        """
        self._check_memory()
        self._count_waiting(1)
        try:
            await self._wait_for_room(stream, slot, count)
        finally:
            self._count_waiting(-1)
            self.turns.pop((stream, slot), None)
        if stream != self.stream or self.ledger.finished:
            return []
        if self._hopeless:
            raise UserError(self._failure())
        if slot < self.next_slot:
            raise RuntimeError(f"slot {slot} of the stream was asked for twice")
        self.next_slot += 1
        tickets = self.ledger.admit(count)
        self._notify()
        return tickets

    def _count_waiting(self, change: int) -> None:
        self.waiting += change
        record("slots_waiting", self.waiting)

    async def _wait_for_room(self, stream: int, slot: int, count: int) -> None:
        while not self._may_answer(stream, slot, count):
            seen = self.events
            turn = self.turns.setdefault((stream, slot), asyncio.Event())
            turn.clear()
            try:
                await asyncio.wait_for(turn.wait(), self.stall_timeout_s)
            except TimeoutError:
                if self.events == seen and self.opened:
                    raise RuntimeError(self._stall(slot)) from None

    def _check_memory(self) -> None:
        if self.forgot:
            raise RuntimeError("the gate was restarted and has forgotten the ledger")

    def _may_answer(self, stream: int, slot: int, count: int) -> bool:
        ledger = self.ledger
        if stream != self.stream or ledger.finished or self._hopeless or slot < self.next_slot:
            return True
        enough = ledger.room >= count or (ledger.room > 0 and ledger.generating == 0)
        return self.opened and slot == self.next_slot and enough and not self._first_is_under_way

    @property
    def _first_is_under_way(self) -> bool:
        ledger = self.ledger
        under_way = self.first_alone and not self.first_is_back
        return under_way and ledger.generating + ledger.held >= ledger.batch

    def _stall(self, slot: int) -> str:
        return (
            f"nothing has reached the gate for {self.stall_timeout_s:.0f} s: slot {slot} waits, "
            f"{self.ledger.generating} rows are being sampled or scored, "
            f"{self.ledger.in_flight} are in flight, version {self.ledger.version}"
        )

    @property
    def _hopeless(self) -> bool:
        lost_too_many = self.lost_since_step > BATCHES_WITHOUT_STEP * self.ledger.batch
        return lost_too_many or self.given_up is not None

    def _failure(self) -> str:
        if self.given_up is not None:
            return self.given_up
        reasons = ", ".join(f"{n} {reason}" for reason, n in self.ledger.reasons.most_common(2))
        return (
            f"{self.lost_since_step} rows in a row ended without a training step "
            f"({reasons}); loosen filter.* or check the task"
        )

    def _notify(self) -> None:
        self.events += 1
        running = self.opened and not self.ledger.finished
        self.first_is_back |= self.next_slot > 0 and self.ledger.generating == 0
        turn = self.turns.get((self.stream, self.next_slot))
        if turn is not None:
            turn.set()
        if self.ledger.finished or self._hopeless:
            self._send_all_away()
        self.idle_clock.note(
            learner=running and self.ledger.held < self.ledger.batch,
            generators=running and self.ledger.generating == 0 and self.ledger.room == 0,
        )
        for state, visits in self.ledger.states.items():
            record("rollouts", visits, state=state)
        record("rollouts_generating", self.ledger.generating)
        record("policy_version", self.ledger.version)

    def _send_all_away(self) -> None:
        """Everybody who waits looks again: there is nothing more for them here."""
        for turn in self.turns.values():
            turn.set()

    async def idle(self) -> IdleShares:
        """Who waited for whom since this was last asked."""
        return self.idle_clock.take()

    async def failure(self) -> str | None:
        """Why no more prompts are handed out, where that is a user's to mend."""
        return self._failure() if self._hopeless else None

    async def lost(self) -> list[tuple[int, Lost]]:
        """The last visits that ended without a training step, each after the index of its
        prompt; none where the learner gave up, which has written them down itself."""
        if self.given_up is not None:
            return []
        return [(self.ledger.row_of(visit.position), visit) for visit in self.ledger.lost]

    async def give_up(self, problem: str) -> None:
        """The learner ends the run for a reason that is a user's to mend. A group that starts
        again meets the same error at once."""
        self.given_up = problem
        self._notify()

    async def arrive(
        self, visits: list[tuple[int, int, int]], dropped: list[tuple[int, int, str]]
    ) -> list[bool]:
        """Scored rows reach the agreement stage, in one step with what its filter drops.

        ``visits``: (position, attempt, first version) of rows to keep; answers which of them may
        be used. ``dropped``: (position, attempt, reason); their room returns.
        """
        self._check_memory()
        kept = [self.ledger.hold(*visit) for visit in visits]
        for position, attempt, reason in dropped:
            self.ledger.end(position, attempt, Outcome.FILTERED, reason)
        self.lost_since_step += len(dropped) + kept.count(False)
        self._notify()
        return kept

    async def fail(self, visits: list[tuple[int, int]], error: str) -> None:
        """The completion could not be made; the error is kept with the account."""
        await self._end([(*visit, error) for visit in visits], Outcome.FAILED)

    async def leave_out(self, rows: list[tuple[int, int, str]]) -> None:
        """The learner took no step on these rows: (position, attempt, reason)."""
        await self._end(rows, Outcome.FAILED)

    async def drop_stale(self, visits: list[tuple[int, int]]) -> None:
        """The learner met rows older than the limit."""
        reason = "older than the limit at the learner"
        await self._end([(*visit, reason) for visit in visits], Outcome.STALE)

    async def _end(self, rows: list[tuple[int, int, str]], outcome: Outcome) -> None:
        self._check_memory()
        for position, attempt, reason in rows:
            self.ledger.end(position, attempt, outcome, reason)
        self.lost_since_step += len(rows)
        self._notify()

    async def consume(
        self, visits: list[tuple[int, int]], left_out: Sequence[tuple[int, int, str]] = ()
    ) -> int:
        """One optimizer step was taken on exactly these rows; ``left_out`` of their batch were
        (position, attempt, reason). Returns the step after which the run ends."""
        self._check_memory()
        self.ledger.advance(visits)
        # After the step: what takes their room has to be sampled by the next version.
        for position, attempt, reason in left_out:
            self.ledger.end(position, attempt, Outcome.FAILED, reason)
        self.lost_since_step = 0
        self._notify()
        return self.ledger.steps

    async def end_soon(self) -> None:
        """Let the next step be the last one; rows beyond it stay in flight in the account."""
        self.ledger.steps = min(self.ledger.steps, self.ledger.version + 1)
        self._notify()

    async def halt(self) -> None:
        """The run stops now: no more prompts are handed out, and what is in flight stays so."""
        self.ledger.steps = min(self.ledger.steps, self.ledger.version)
        self.opened = True
        self._notify()

    async def stream_broke(self, stream: int, reason: str) -> bool:
        """Rows that ``stream`` carried are lost. False where that does not matter any more."""
        if stream != self.stream or self.ledger.finished:
            return False
        self.broken = reason
        self._notify()
        return True

    async def last_step(self) -> int:
        """The step after which the run ends. Raises RuntimeError for a stream that is broken."""
        self._check_memory()
        if self.broken:
            raise RuntimeError(self.broken)
        return self.ledger.steps

    async def counters(self) -> dict[str, Any]:
        """Checked ledger counters, the version, the restored scale and the reasons of losses."""
        self._check_memory()
        self.ledger.check()
        return {
            **self.ledger.counters(),
            "version": self.ledger.version,
            "stream": self.stream,
            "agreement_scale": self.agreement_scale,
            "reasons": dict(self.ledger.reasons),
        }

    async def state(self) -> dict[str, Any]:
        """The ledger as it belongs into a checkpoint."""
        self._check_memory()
        self.ledger.check()
        return self.ledger.state()

    async def restore(
        self, state: dict[str, Any] | None, agreement_scale: float | None = None
    ) -> int:
        """Return to a checkpoint's ledger (None: nothing was saved yet), and the scale with which
        the next stream begins. Returns the step after which the run ends, which may have been
        moved. Raises RuntimeError when steps were taken of which nothing was saved."""
        self.forgot = False
        # What becomes of an earlier stream does not matter from now on.
        self._send_all_away()
        self.stream += 1
        self.broken = None
        if state is None and self.ledger.version > 0:
            raise RuntimeError(
                f"{self.ledger.version} steps were taken, but no checkpoint can be read"
            )
        if state is not None:
            self.ledger.restore(state)
        self.agreement_scale = agreement_scale
        self.lost_since_step = 0
        self._notify()
        return self.ledger.steps


class GateClient(ActorClient):
    """What stages, learners and the driver ask of the gate."""

    who = "the gate"

    open = remote_method(Gate.open)
    is_open = remote_method(Gate.is_open)
    open_stream = remote_method(Gate.open_stream)
    admit = remote_method(Gate.admit)
    idle = remote_method(Gate.idle)
    failure = remote_method(Gate.failure)
    lost = remote_method(Gate.lost)
    give_up = remote_method(Gate.give_up)
    arrive = remote_method(Gate.arrive)
    fail = remote_method(Gate.fail)
    leave_out = remote_method(Gate.leave_out)
    drop_stale = remote_method(Gate.drop_stale)
    consume = remote_method(Gate.consume)
    end_soon = remote_method(Gate.end_soon)
    halt = remote_method(Gate.halt)
    stream_broke = remote_method(Gate.stream_broke)
    last_step = remote_method(Gate.last_step)
    counters = remote_method(Gate.counters)
    state = remote_method(Gate.state)
    restore = remote_method(Gate.restore)
