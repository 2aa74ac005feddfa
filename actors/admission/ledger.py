"""The account of every prompt: admitted once, ended once, never lost.

Plain Python without Ray, so that its invariants can be tested exhaustively.
A visit to a prompt is known by its ``position`` in the visiting order; positions
are admitted in ascending order, so one byte per position is the whole ledger.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import dataclass
from enum import IntEnum

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
    """Leave to sample one completion.

    ``attempt`` fences off earlier tries of the same visit: a row whose attempt is
    not the ledger's is refused. ``min_version`` is the oldest policy version
    that may serve it without breaking the staleness limit.
    """

    position: int
    attempt: int
    row: int
    min_version: int


@dataclass(frozen=True)
class Lost:
    """A visit that ended without a step, with the version in which that happened."""

    position: int
    attempt: int
    version: int
    reason: str


LOST_KEPT = 64
"""The last so many lost visits are remembered one by one."""

SPARE = 1.5
"""Visits that ``visited_rows`` counts on, per visit that is planned: filters replace some."""


class Ledger:
    """Admission, staleness and outcome of every visit.

    Invariants: ``admitted == in_flight + ended`` at all times, and
    ``in_flight <= min(S + 1, steps - version) * B`` for what is admitted. As a step takes at most
    B rows, ``admitted - ended_without_step <= min(S + version + 1, steps) * B`` follows; where
    steps took fewer, that alone would let rows in that are too old when their turn comes.

    Attempts are numbered from ``fence`` on.
    """

    def __init__(
        self, rows: int, batch: int, staleness: int, steps: int, seed: int, fence: int = 0
    ) -> None:
        self.rows, self.batch, self.staleness, self.steps = rows, batch, staleness, steps
        self.seed = seed
        self.version = 0
        self.outcomes = bytearray()
        self.reasons: Counter[str] = Counter()
        self.lost: deque[Lost] = deque(maxlen=LOST_KEPT)
        self._counts: Counter[Outcome] = Counter()
        self._attempts: dict[int, int] = {}
        self._fence = fence
        self._again: list[int] = []
        self._held: set[int] = set()
        self._epoch_order: tuple[int, list[int]] = (-1, [])

    @property
    def admitted(self) -> int:
        return len(self.outcomes)

    @property
    def states(self) -> dict[str, int]:
        """Visits by how they ended, or that they are in flight, without counting them anew."""
        return {end.name.lower(): self._counts[end] for end in Outcome}

    @property
    def in_flight(self) -> int:
        return self._counts[Outcome.IN_FLIGHT]

    @property
    def ended_without_step(self) -> int:
        return sum(self._counts[end] for end in (Outcome.FILTERED, Outcome.STALE, Outcome.FAILED))

    @property
    def room(self) -> int:
        """Visits that may be admitted now: repeats first, then new positions."""
        limit = min(self.staleness + 1, self.steps - self.version) * self.batch
        return len(self._again) + max(0, limit - self.in_flight)

    @property
    def held(self) -> int:
        """Rows that have come back and are, or will be, the learner's next batches."""
        return len(self._held)

    @property
    def generating(self) -> int:
        """Visits handed out that have not yet come back to be weighed."""
        return self.in_flight - self.held - len(self._again)

    @property
    def finished(self) -> bool:
        return self.version >= self.steps

    def admit(self, count: int) -> list[Admission]:
        """Hand out up to ``count`` tickets, as far as there is room."""
        return [self._admit_one() for _ in range(min(count, self.room))]

    def _admit_one(self) -> Admission:
        if self._again:
            position = self._again.pop(0)
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
            position=position,
            attempt=self._attempts.get(position, 0),
            row=self.row_of(position),
            min_version=min(self.version, max(0, last_step - self.staleness)),
        )

    def row_of(self, position: int) -> int:
        """Index of the prompt visited at ``position``: a fresh permutation every epoch."""
        epoch, offset = divmod(position, self.rows)
        if self._epoch_order[0] != epoch:
            order = list(range(self.rows))
            random.Random(f"{self.seed}/{epoch}").shuffle(order)
            self._epoch_order = (epoch, order)
        return self._epoch_order[1][offset]

    def hold(self, position: int, attempt: int, version: int) -> bool:
        """A sampled and scored row arrives. False: it is outdated or too old and must not be
        trained on."""
        if not self._current(position, attempt) or position in self._held:
            return False
        if not self.version - self.staleness <= version <= self.version:
            self.end(position, attempt, Outcome.STALE, "of a version outside the limit on arrival")
            return False
        self._held.add(position)
        return True

    def end(self, position: int, attempt: int, outcome: Outcome, reason: str) -> bool:
        """Close a visit. False when it is not open under this attempt (nothing changes)."""
        if not self._current(position, attempt):
            return False
        self.outcomes[position] = outcome
        self._counts[Outcome.IN_FLIGHT] -= 1
        self._counts[outcome] += 1
        self._held.discard(position)
        self._attempts.pop(position, None)
        if outcome is not Outcome.CONSUMED:
            self.reasons[f"{outcome.name.lower()}: {reason}"] += 1
            self.lost.append(Lost(position, attempt, self.version, reason))
        return True

    def advance(self, visits: list[tuple[int, int]]) -> None:
        """Account the rows of one optimizer step and move to the next version."""
        for position, attempt in visits:
            if not self.end(position, attempt, Outcome.CONSUMED, ""):
                raise ValueError(
                    f"visit {position} was trained on but is not open (attempt {attempt})"
                )
        self.version += 1

    def repeat(self, positions: list[int] | None = None) -> int:
        """Put open visits back in line under a new attempt; all of them when None. Returns how
        many."""
        if positions is None:
            positions = [p for p in self._open_positions() if p not in set(self._again)]
        self._fence += 1
        for position in positions:
            self._attempts[position] = self._fence
            self._held.discard(position)
        self._again = sorted(set(self._again) | set(positions))
        return len(positions)

    def counters(self) -> dict[str, int]:
        """The line that is printed: admitted = consumed + filtered + stale + failed + in_flight."""
        return counters_of(self.outcomes)

    def check(self) -> None:
        """Raise if the account does not close."""
        counted = Counter(self.outcomes)
        if any(counted[int(end)] != self._counts[end] for end in Outcome):
            raise AssertionError(f"ledger does not close: {self.counters()} against {counted}")

    def state(self) -> dict[str, object]:
        """Everything a checkpoint needs; open visits are repeated on restore."""
        return {
            "order": self._order_key,
            "version": self.version,
            "outcomes": bytes(self.outcomes),
            "reasons": dict(self.reasons),
            "attempts": dict(self._attempts),
        }

    def restore(self, state: dict) -> None:
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
        self._again, self._held = [], set()
        self.repeat()

    @property
    def _order_key(self) -> list[int]:
        return [self.rows, self.batch, self.staleness, self.seed]

    def _current(self, position: int, attempt: int) -> bool:
        return (
            0 <= position < self.admitted
            and self.outcomes[position] == Outcome.IN_FLIGHT
            and self._attempts.get(position, 0) == attempt
        )

    def _open_positions(self) -> list[int]:
        return [p for p, code in enumerate(self.outcomes) if code == Outcome.IN_FLIGHT]


def counters_of(outcomes: bytes | bytearray) -> dict[str, int]:
    """Visits by how they ended, of a ledger or of the one in a checkpoint."""
    counted = Counter(outcomes)
    return {"admitted": len(outcomes), **{end.name.lower(): counted[int(end)] for end in Outcome}}


def visited_rows(config: Config, rows: int) -> set[int]:
    """Indices of the rows that a run over ``rows`` prompts is going to visit, with some to
    spare."""
    training = config.training
    ledger = Ledger(
        rows, training.batch_size, training.max_staleness, training.max_steps, config.seed
    )
    visits = int(SPARE * training.batch_size * (training.max_steps + training.max_staleness + 1))
    return {ledger.row_of(position) for position in range(visits)}
