"""Gate: the one actor that admits prompts and closes their accounts.

The ledger keeps the accounts; the gate adds the waiting. A slot waits until there is room and then
gets the prompts to sample, so that no stage downstream holds room that nobody fills. Slots of a
stream are served strictly in their order, because the stream emits in that order: a later slot
that took the room of an earlier one would wait behind it for ever. So an event wakes the one slot
whose turn it is, however many wait.

A gate that Ray restarted has forgotten the ledger. It refuses all calls until the learners, which
then start again from their checkpoint, restore it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from actors.admission.idle_time import IdleShares, IdleTimer
from actors.admission.ledger import Admission, Ledger, Outcome
from actors.runtime.calls import ActorClient, remote_method, restarted
from actors.runtime.learner_fence import LearnerFence
from actors.runtime.metrics import record
from actors.supervision.incidents import RunFailure
from actors.supervision.watchdog import WatchdogClient
from unisd_core.common.errors import UserError
from unisd_core.common.visits import Visit

BATCHES_WITHOUT_STEP = 20
"""Batches' worth of rows that may be lost in a row before the run is stopped."""

Losses = Mapping[Visit, str]
"""Visits that end without a step, each with the reason."""


class Gate:
    """Async actor around :class:`Ledger`; all methods are safe to call concurrently, because none
    waits between two changes of the account.

    ``stall_timeout_s`` is the longest time in seconds in which nothing at all happens. A gate that
    is not ``opened`` admits no prompts, so that stages and learners can start before they are to
    work. With ``first_alone`` the first batch of a stream is sampled and scored before the second
    begins. ``watchdog`` is told why a run ends.
    """

    def __init__(
        self,
        rows: int,
        batch: int,
        staleness: int,
        steps: int,
        seed: int,
        watchdog: WatchdogClient,
        stall_timeout_s: float = 3600.0,
        opened: bool = True,
        first_alone: bool = False,
    ) -> None:
        self.forgot = restarted()
        self.opened = opened or self.forgot
        # Numbers that an earlier gate did not give out: what it admitted may still arrive here.
        first = int(time.time()) if self.forgot else 0
        self.ledger = Ledger(rows, batch, staleness, steps, seed, fence=first)
        self.watchdog = watchdog
        self.fence = LearnerFence(lambda refusal: watchdog.record.tell("gate", refusal), first)
        self.stream = first
        self.stall_timeout_s = stall_timeout_s
        self.first_alone = first_alone
        self.first_is_back = False
        self.turns: dict[tuple[int, int], asyncio.Event] = {}
        self.stream_lost: str | None = None
        self.next_slot = 0
        self.waiting = 0
        self.idle_timer = IdleTimer()
        self.events = 0
        self.lost_since_step = 0
        self.agreement_scale: float | None = None
        self.aborted: RunFailure | None = None
        # An earlier gate may have told the watchdog of a failure.
        self.failure_reported = self.forgot

    async def open(self) -> None:
        """Admit prompts from now on."""
        self.opened = True
        self._notify()

    async def is_open(self) -> bool:
        """Whether prompts are admitted."""
        return self.opened

    async def open_stream(self, uids: Sequence[str]) -> int:
        """Start a new stream over the prompts ``uids``; returns its number.

        Whatever an earlier one left open is admitted again, and its waiters get nothing more.
        """
        self._check_memory()
        self._wake_all()
        self.stream += 1
        self.stream_lost = None
        self.next_slot = 0
        self.first_is_back = False
        self.ledger.uids = uids
        self.ledger.requeue()
        self._notify()
        return self.stream

    async def admit(self, stream: int, slot: int, count: int) -> list[Admission]:
        """Wait for room for ``count`` prompts and take it; an empty list means: no more are needed.

        Fewer are admitted only when nothing else is being sampled, so that a batch that lost rows
        to a filter is always completed. Raises UserError when the run has failed, RuntimeError
        when nothing has happened for too long.
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
        failure = self._failure()
        if failure is not None:
            self.failure_reported = True
            self.watchdog.fail.tell(failure)
            raise UserError(failure.reason)
        if slot < self.next_slot:
            raise RuntimeError(f"slot {slot} of the stream was asked for twice")
        self.next_slot += 1
        admitted = self.ledger.admit(count)
        self._notify()
        return admitted

    def may_answer(self, stream: int, slot: int, count: int) -> bool:
        """Whether :meth:`admit` would answer these arguments without waiting."""
        ledger = self.ledger
        if stream != self.stream or ledger.finished or self._has_failed or slot < self.next_slot:
            return True
        enough = ledger.room >= count or (ledger.room > 0 and ledger.generating == 0)
        return self.opened and slot == self.next_slot and enough and not self._first_is_under_way

    def _count_waiting(self, change: int) -> None:
        self.waiting += change
        record("slots_waiting", self.waiting)

    async def _wait_for_room(self, stream: int, slot: int, count: int) -> None:
        while not self.may_answer(stream, slot, count):
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
    def _too_many_losses(self) -> bool:
        return self.lost_since_step > BATCHES_WITHOUT_STEP * self.ledger.batch

    @property
    def _has_failed(self) -> bool:
        return self.aborted is not None or self._too_many_losses

    def _failure(self) -> RunFailure | None:
        if self.aborted is not None or not self._too_many_losses:
            return self.aborted
        reasons = ", ".join(f"{n} {reason}" for reason, n in self.ledger.reasons.most_common(2))
        return RunFailure(
            f"{self.lost_since_step} rows in a row ended without a training step "
            f"({reasons}); loosen filter.* or check the task",
            tuple(self.ledger.lost),
        )

    def _notify(self) -> None:
        self.events += 1
        running = self.opened and not self.ledger.finished
        self.first_is_back |= self.next_slot > 0 and self.ledger.generating == 0
        turn = self.turns.get((self.stream, self.next_slot))
        if turn is not None:
            turn.set()
        if self.ledger.finished or self._has_failed:
            self._wake_all()
        self.idle_timer.note(
            learner=running and self.ledger.held < self.ledger.batch,
            generators=running and self.ledger.generating == 0 and self.ledger.room == 0,
        )
        for state, visits in self.ledger.states.items():
            record("rollouts", visits, state=state)
        record("rollouts_generating", self.ledger.generating)
        record("policy_version", self.ledger.version)

    def _wake_all(self) -> None:
        """All waiters look again: there is nothing more for them here."""
        for turn in self.turns.values():
            turn.set()

    async def idle(self) -> IdleShares:
        """How long learner and generators were idle since the last call."""
        return self.idle_timer.take()

    async def arrive(self, versions: Mapping[Visit, int], dropped: Losses) -> list[bool]:
        """Scored rows reach the agreement stage, in one step with what its filter drops.

        ``versions``: the first version that sampled each row to keep; answers which of them may be
        used. The room of those that are ``dropped`` returns.
        """
        self._check_memory()
        kept = [self.ledger.arrive(visit, version) for visit, version in versions.items()]
        self._end(dropped, Outcome.FILTERED)
        self.lost_since_step += len(dropped) + kept.count(False)
        self._notify()
        return kept

    async def close(self, losses: Losses, outcome: Outcome) -> None:
        """These visits ended with ``outcome`` and without a step; their room returns."""
        self._check_memory()
        self._end(losses, outcome)
        self.lost_since_step += len(losses)
        self._notify()

    async def consume(
        self,
        visits: Sequence[Visit],
        left_out: Losses | None = None,
        agreement_scale: float | None = None,
        incarnation: int = 0,
    ) -> int:
        """One optimizer step was taken on exactly these rows; others of their batch were
        ``left_out``. A stream that begins from now on goes on with ``agreement_scale``. Returns the
        step after which the run ends. Raises RuntimeError for learners of an older
        ``incarnation``."""
        self._check_memory()
        self.fence.check(incarnation, "a step")
        self.ledger.advance(visits)
        self.agreement_scale = agreement_scale
        # After the step: what takes their room has to be sampled by the next version.
        self._end(left_out or {}, Outcome.FAILED)
        self.lost_since_step = 0
        self._notify()
        return self.ledger.steps

    def _end(self, losses: Losses, outcome: Outcome) -> None:
        for visit, reason in losses.items():
            self.ledger.end(visit, outcome, reason)

    async def stop_after_this_step(self) -> None:
        """Let the next step be the last one; rows beyond it stay in flight in the account."""
        self.ledger.steps = min(self.ledger.steps, self.ledger.version + 1)
        self._notify()

    async def stop_now(self) -> None:
        """Admit no more prompts; what is in flight stays so."""
        self.ledger.steps = min(self.ledger.steps, self.ledger.version)
        self.opened = True
        self._notify()

    async def abort(self, reason: str, incarnation: int = 0) -> None:
        """The learner ends the run for a reason that a user can mend. Learners that start again
        meet the same error at once. Raises RuntimeError for learners of an older
        ``incarnation``."""
        self.fence.check(incarnation, "an abort")
        self.aborted = RunFailure(reason)
        self._notify()
        self.watchdog.fail.tell(self.aborted)

    async def failure(self) -> RunFailure | None:
        """Why the run ends early, None where it does not."""
        self._check_memory()
        return self._failure()

    async def stream_broke(self, stream: int, reason: str) -> bool:
        """Rows that ``stream`` carried are lost. False where that no longer matters."""
        if stream != self.stream or self.ledger.finished:
            return False
        self.stream_lost = reason
        self._notify()
        return True

    async def last_step(self, incarnation: int = 0) -> int:
        """The step after which the run ends. Raises RuntimeError when the stream is lost, and for
        learners of an older ``incarnation``."""
        self._check_memory()
        self.fence.check(incarnation, "another batch")
        if self.stream_lost:
            raise RuntimeError(self.stream_lost)
        return self.ledger.steps

    async def counters(self) -> dict[str, Any]:
        """Checked ledger counters, the version, the agreement scale of the last step and the
        reasons of losses."""
        self._check_memory()
        self.ledger.check()
        return {
            **self.ledger.counters(),
            "version": self.ledger.version,
            "stream": self.stream,
            "agreement_scale": self.agreement_scale,
            "reasons": dict(self.ledger.reasons),
        }

    async def state(self, incarnation: int = 0) -> dict[str, Any]:
        """The ledger as a checkpoint keeps it. Raises RuntimeError for learners of an older
        ``incarnation``, whose weights are not those of the ledger."""
        self._check_memory()
        self.fence.check(incarnation, "a checkpoint")
        self.ledger.check()
        return self.ledger.state()

    async def begin_incarnation(self, known: int) -> int:
        """Learners take over from all before them; ``known`` is the incarnation that wrote their
        checkpoint. Returns their own."""
        return self.fence.begin(known)

    async def restore(
        self,
        state: dict[str, Any] | None,
        agreement_scale: float | None = None,
        incarnation: int = 0,
    ) -> int:
        """Return to a checkpoint's ledger (None: nothing was saved yet), and the scale with which
        the next stream begins. Returns the step after which the run ends, which may have been
        moved. Raises RuntimeError when steps were taken of which nothing was saved, and for
        learners of an older ``incarnation``."""
        self.fence.check(incarnation, "a restart")
        self.forgot = False
        # What becomes of an earlier stream does not matter from now on.
        self._wake_all()
        self.stream += 1
        self.stream_lost = None
        if state is None and self.ledger.version > 0:
            raise RuntimeError(
                f"{self.ledger.version} steps were taken, but no checkpoint can be read"
            )
        if state is not None:
            self.ledger.restore(state)
        self.agreement_scale = agreement_scale
        self.lost_since_step = 0
        self._notify()
        if self.failure_reported and self.aborted is None:
            self.watchdog.clear_failure.tell()
            self.failure_reported = False
        return self.ledger.steps


class GateClient(ActorClient):
    """Calls the gate: for stages, learners and the driver."""

    who = "the gate"

    open = remote_method(Gate.open)
    is_open = remote_method(Gate.is_open)
    open_stream = remote_method(Gate.open_stream)
    admit = remote_method(Gate.admit)
    idle = remote_method(Gate.idle)
    arrive = remote_method(Gate.arrive)
    close = remote_method(Gate.close)
    consume = remote_method(Gate.consume)
    stop_after_this_step = remote_method(Gate.stop_after_this_step)
    stop_now = remote_method(Gate.stop_now)
    abort = remote_method(Gate.abort)
    failure = remote_method(Gate.failure)
    stream_broke = remote_method(Gate.stream_broke)
    last_step = remote_method(Gate.last_step)
    counters = remote_method(Gate.counters)
    state = remote_method(Gate.state)
    begin_incarnation = remote_method(Gate.begin_incarnation)
    restore = remote_method(Gate.restore)
