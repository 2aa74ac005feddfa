"""The gate: the one actor that admits prompts and closes their accounts.

Everything it knows is the ledger's; it adds waiting. A waiter sleeps until
room appears and is told which prompts to sample, so that no stage downstream can
hold a place that nobody fills.
"""

from __future__ import annotations

import asyncio
from typing import Any

from actors.ledger import End, Ledger, Ticket
from unisd_core.errors import UserError

BATCHES_WITHOUT_STEP = 20
"""Batches' worth of rows that may be lost in a row before the run is stopped."""


class Gate:
    """Async actor around :class:`Ledger`; all methods are safe to call concurrently."""

    def __init__(self, rows: int, batch: int, staleness: int, steps: int, seed: int) -> None:
        self.ledger = Ledger(rows, batch, staleness, steps, seed)
        self.changed = asyncio.Condition()
        self.turn = asyncio.Lock()
        self.lost_since_step = 0
        self.closed = False

    async def open_stream(self) -> int:
        """A new stream starts: whatever an earlier one left open is handed out again. Returns the
        version."""
        async with self.changed:
            self.ledger.repeat()
            self.changed.notify_all()
            return self.ledger.version

    async def admit(self, count: int) -> list[Ticket]:
        """Wait for room for ``count`` prompts and take it; an empty list means that no more are
        needed.

        Fewer are handed out only when nothing else is being sampled, so that a batch that lost rows
        to a filter is always completed. Raises UserError when rows only get lost.
        """
        async with self.turn, self.changed:
            await self.changed.wait_for(lambda: self._ready(count))
            if self.lost_since_step > BATCHES_WITHOUT_STEP * self.ledger.batch:
                raise UserError(
                    f"{self.lost_since_step} rows in a row ended without a training step "
                    f"({_most_common(self.ledger)}); loosen filter.* or check the task"
                )
            return [] if self.closed or self.ledger.finished else self.ledger.admit(count)

    def _ready(self, count: int) -> bool:
        ledger = self.ledger
        if self.closed or ledger.finished:
            return True
        if self.lost_since_step > BATCHES_WITHOUT_STEP * ledger.batch:
            return True
        return ledger.room >= count or (ledger.room > 0 and ledger.generating == 0)

    async def arrive(
        self, visits: list[tuple[int, int, int]], dropped: list[tuple[int, int, str]]
    ) -> list[bool]:
        """Scored rows reach the agreement stage, in one step with what its filter drops.

        ``visits``: (position, attempt, first version) of rows to keep; answers which of them may
        be used.
        ``dropped``: (position, attempt, reason); their room returns.
        """
        async with self.changed:
            kept = [self.ledger.hold(*visit) for visit in visits]
            for position, attempt, reason in dropped:
                self.ledger.end(position, attempt, End.FILTERED, reason)
            self.lost_since_step += len(dropped) + kept.count(False)
            self.changed.notify_all()
            return kept

    async def fail(self, visits: list[tuple[int, int]], error: str) -> None:
        """The completion could not be made; the error is kept with the account."""
        await self._end(visits, End.FAILED, error)

    async def drop_stale(self, visits: list[tuple[int, int]]) -> None:
        """The learner met rows older than the limit."""
        await self._end(visits, End.STALE, "older than the limit at the learner")

    async def _end(self, visits: list[tuple[int, int]], outcome: End, reason: str) -> None:
        async with self.changed:
            for position, attempt in visits:
                self.ledger.end(position, attempt, outcome, reason)
            self.lost_since_step += len(visits)
            self.changed.notify_all()

    async def consume(self, visits: list[tuple[int, int]]) -> int:
        """One optimizer step was taken on exactly these rows. Returns the new version."""
        async with self.changed:
            self.ledger.advance(visits)
            self.lost_since_step = 0
            self.changed.notify_all()
            return self.ledger.version

    async def close(self) -> None:
        """No more prompts are handed out; waiters get an empty list."""
        async with self.changed:
            self.closed = True
            self.changed.notify_all()

    async def counters(self) -> dict[str, Any]:
        """Checked ledger counters, the version and the reasons of losses."""
        self.ledger.check()
        return {
            **self.ledger.counters(),
            "version": self.ledger.version,
            "reasons": dict(self.ledger.reasons),
        }

    async def state(self) -> dict[str, Any]:
        """The ledger as it belongs into a checkpoint."""
        self.ledger.check()
        return self.ledger.state()

    async def restore(self, state: dict[str, Any]) -> None:
        """Return to a checkpoint's ledger."""
        async with self.changed:
            self.ledger.restore(state)
            self.changed.notify_all()


def _most_common(ledger: Ledger) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in ledger.reasons.most_common(2))
