"""Ledger: the account of every prompt, which is admitted once, ended once, and never lost.

Plain Python without Ray, so that its invariants can be tested exhaustively. Positions of the
visiting order are admitted in ascending order, so one byte per position is the whole ledger.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from unisd_core.common.visits import LostRow, Visit, VisitingOrder
from unisd_core.config.run import Config


class Outcome(IntEnum):
    """How a visit ended; ``IN_FLIGHT`` has not."""

    IN_FLIGHT = 0
    CONSUMED = 1
    FILTERED = 2
    STALE = 3
    FAILED = 4


@dataclass(frozen=True)
class Admission:
    """Leave to sample one completion of the prompt with index ``row``.

    ``min_version`` is the oldest policy version that may serve it without breaking the staleness
    limit.
    """

    visit: Visit
    row: int
    min_version: int


LOST_KEPT = 64
"""The last so many lost rows are remembered one by one."""

SPARE = 1.5
"""Visits that ``visited_rows`` counts on, per visit that is planned: filters replace some."""


class Ledger:
    """Admission, staleness and outcome of every visit to one of ``rows`` prompts.

    Invariants: ``admitted == in_flight + ended`` at all times, and
    ``in_flight <= min(S + 1, steps - version) * B`` for what is admitted. As a step takes at most
    B rows, ``admitted - ended_without_step <= min(S + version + 1, steps) * B`` follows; where
    steps took fewer, that alone would let rows in that are too old when their turn comes.

    Attempts are numbered from ``fence`` on.
    """

    def __init__(
        self, rows: int, batch: int, staleness: int, steps: int, seed: int, fence: int = 0
    ) -> None:
        self.batch, self.staleness, self.steps = batch, staleness, steps
        self.order = VisitingOrder(rows, seed)
        self.uids: Sequence[str] = ()
        """Of the prompts; lost rows are named by index until they are known."""
        self.version = 0
        self.outcomes = bytearray()
        self.reasons: Counter[str] = Counter()
        self._lost: deque[tuple[Visit, int, str]] = deque(maxlen=LOST_KEPT)
        self._counts: Counter[Outcome] = Counter()
        self._attempts: dict[int, int] = {}
        self._fence = fence
        self._requeued: list[int] = []
        self._held: set[int] = set()

    @property
    def admitted(self) -> int:
        """Visits admitted so far, whatever became of them."""
        return len(self.outcomes)

    @property
    def states(self) -> dict[str, int]:
        """Visits by how they ended, or that they are in flight, without counting them anew."""
        return {outcome.name.lower(): self._counts[outcome] for outcome in Outcome}

    @property
    def in_flight(self) -> int:
        """Visits that were admitted and have not ended."""
        return self._counts[Outcome.IN_FLIGHT]

    @property
    def ended_without_step(self) -> int:
        """Visits that were filtered, too old or failed."""
        without = (Outcome.FILTERED, Outcome.STALE, Outcome.FAILED)
        return sum(self._counts[outcome] for outcome in without)

    @property
    def room(self) -> int:
        """Visits that may be admitted now: requeued ones first, then new positions."""
        limit = min(self.staleness + 1, self.steps - self.version) * self.batch
        return len(self._requeued) + max(0, limit - self.in_flight)

    @property
    def held(self) -> int:
        """Rows that have come back and are, or will be, the learner's next batches."""
        return len(self._held)

    @property
    def generating(self) -> int:
        """Visits handed out that have not yet come back to be weighted."""
        return self.in_flight - self.held - len(self._requeued)

    @property
    def finished(self) -> bool:
        """Whether the last step was taken."""
        return self.version >= self.steps

    def admit(self, count: int) -> list[Admission]:
        """Admit up to ``count`` visits, as far as there is room."""
        return [self._admit_one() for _ in range(min(count, self.room))]

    def _admit_one(self) -> Admission:
        if self._requeued:
            position = self._requeued.pop(0)
        else:
            position = self.admitted
            self.outcomes.append(Outcome.IN_FLIGHT)
            self._counts[Outcome.IN_FLIGHT] += 1
            if self._fence:
                # The position may have been handed out before a restore.
                self._attempts[position] = self._fence
        # Rows are consumed in order, so this is the latest step that can train on the row.
        last_step = self.version + (self.in_flight - 1) // self.batch
        return Admission(
            visit=Visit(position, self._attempts.get(position, 0)),
            row=self.order.row_of(position),
            min_version=min(self.version, max(0, last_step - self.staleness)),
        )

    def arrive(self, visit: Visit, version: int) -> bool:
        """A row that was sampled by ``version`` comes back with its scores. False: it is outdated
        or too old and must not be trained on."""
        if not self._is_open(visit) or visit.position in self._held:
            return False
        if not self.version - self.staleness <= version <= self.version:
            self.end(visit, Outcome.STALE, "of a version outside the limit on arrival")
            return False
        self._held.add(visit.position)
        return True

    def end(self, visit: Visit, outcome: Outcome, reason: str) -> bool:
        """Close a visit. False when it is not open under this attempt (nothing changes)."""
        if not self._is_open(visit):
            return False
        position = visit.position
        self.outcomes[position] = outcome
        self._counts[Outcome.IN_FLIGHT] -= 1
        self._counts[outcome] += 1
        self._held.discard(position)
        self._attempts.pop(position, None)
        if outcome is not Outcome.CONSUMED:
            self.reasons[f"{outcome.name.lower()}: {reason}"] += 1
            self._lost.append((visit, self.version, reason))
        return True

    @property
    def lost(self) -> list[LostRow]:
        """The last LOST_KEPT visits that ended without a step, the newest last."""
        # Named only now: where two epochs meet, rows are lost in one and admitted in the other, and
        # each change from one to the other shuffles all prompts anew.
        return [
            LostRow(self._name(visit.position), *visit, version, reason)
            for visit, version, reason in self._lost
        ]

    def _name(self, position: int) -> str:
        row = self.order.row_of(position)
        return self.uids[row] if self.uids else f"row {row}"

    def advance(self, visits: Iterable[Visit]) -> None:
        """Account the rows of one optimizer step and move to the next version."""
        for visit in visits:
            if not self.end(visit, Outcome.CONSUMED, ""):
                raise ValueError(
                    f"visit {visit.position} was trained on but is not open "
                    f"(attempt {visit.attempt})"
                )
        self.version += 1

    def requeue(self) -> None:
        """Put every open visit back in line, under a new attempt where it was handed out."""
        self._fence += 1
        positions, in_line = self._open_positions(), set(self._requeued)
        self._attempts |= {p: self._fence for p in positions if p not in in_line}
        self._requeued = positions
        self._held.clear()

    def counters(self) -> dict[str, int]:
        """The line that is printed: admitted = consumed + filtered + stale + failed + in_flight."""
        return counters_of(self.outcomes)

    def check(self) -> None:
        """Raise if the account does not close."""
        counted = Counter(self.outcomes)
        if any(counted[int(outcome)] != self._counts[outcome] for outcome in Outcome):
            raise AssertionError(f"ledger does not close: {self.counters()} against {counted}")

    def snapshot(self) -> Hashable:
        """Everything that decides what the ledger answers, as one value to compare."""
        return (
            self.version,
            self._fence,
            bytes(self.outcomes),
            tuple(sorted(self._attempts.items())),
            tuple(self._requeued),
            tuple(sorted(self._held)),
        )

    def state(self) -> dict[str, Any]:
        """Everything a checkpoint needs; open visits are requeued on restore."""
        return {
            "order": self._order_key,
            "version": self.version,
            "outcomes": bytes(self.outcomes),
            "reasons": dict(self.reasons),
            "attempts": dict(self._attempts),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Return to ``state`` (see :meth:`state`); what was open is handed out again.

        Raises ValueError when positions of ``state`` would mean other prompts here.
        """
        if list(state["order"]) != self._order_key:
            raise ValueError(
                f"the ledger is of another order of prompts: [rows, batch, staleness, seed] "
                f"{list(state['order'])} instead of {self._order_key}"
            )
        self.version = int(state["version"])
        self.outcomes = bytearray(state["outcomes"])
        self.reasons = Counter(state["reasons"])
        self._counts = Counter({Outcome(code): n for code, n in Counter(self.outcomes).items()})
        self._attempts = {int(p): int(a) for p, a in state["attempts"].items()}
        # Never back: rows that an earlier stream still carries must not pass for new ones.
        self._fence = max(self._fence, *self._attempts.values(), 0)
        self._requeued = []
        self.requeue()

    @property
    def _order_key(self) -> list[int]:
        return [self.order.rows, self.batch, self.staleness, self.order.seed]

    def _is_open(self, visit: Visit) -> bool:
        position = visit.position
        return (
            0 <= position < self.admitted
            and self.outcomes[position] == Outcome.IN_FLIGHT
            and self._attempts.get(position, 0) == visit.attempt
        )

    def _open_positions(self) -> list[int]:
        return [p for p, code in enumerate(self.outcomes) if code == Outcome.IN_FLIGHT]


def counters_of(outcomes: bytes | bytearray) -> dict[str, int]:
    """Visits by how they ended, of a ledger or of the one in a checkpoint."""
    counted = Counter(outcomes)
    return {
        "admitted": len(outcomes),
        **{outcome.name.lower(): counted[int(outcome)] for outcome in Outcome},
    }


def visited_rows(config: Config, rows: int, step: int = 0) -> list[int]:
    """Indices of the rows that a run over ``rows`` prompts is going to visit from ``step`` on, in
    that order and with some to spare."""
    training = config.training
    order = VisitingOrder(rows, config.seed)
    visits = int(SPARE * training.batch_size * (training.max_steps + training.max_staleness + 1))
    found: dict[int, None] = {}
    for position in range(step * training.batch_size, visits):
        found[order.row_of(position)] = None
        if len(found) == rows:
            break
    return list(found)
