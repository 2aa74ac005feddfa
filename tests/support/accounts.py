"""Invariants of a ledger at any time."""

from __future__ import annotations

from actors.admission.ledger import Ledger


def assert_account_closes(ledger: Ledger) -> None:
    """Every visit is in flight or has ended, and no more were admitted than may be."""
    ledger.check()
    counters = ledger.counters()
    ended = sum(counters[name] for name in ("consumed", "filtered", "stale", "failed"))
    assert counters["admitted"] == counters["in_flight"] + ended
    bound = min(ledger.staleness + ledger.version + 1, ledger.steps) * ledger.batch
    assert ledger.admitted - ledger.ended_without_step <= bound
