"""A gate outside of Ray, and a stream that asks it for slots."""

from __future__ import annotations

from actors.admission.gate import Gate
from actors.supervision.incidents import IncidentLog
from tests.support.direct_client import DirectClient


class Stream:
    """A stream that asks for its slots in order, as Generate does."""

    def __init__(self, gate: Gate, number: int):
        self.gate, self.number, self.slot = gate, number, -1

    async def admit(self, count: int):
        self.slot += 1
        return await self.gate.admit(self.number, self.slot, count)


UIDS = [f"row-{row}" for row in range(20)]


def new_gate(**changes: float) -> Gate:
    settings = {"rows": len(UIDS), "batch": 4, "staleness": 0, "steps": 3, "seed": 0, **changes}
    return Gate(**settings, watchdog=DirectClient(IncidentLog()))


async def opened(**changes: float) -> tuple[Gate, Stream]:
    gate = new_gate(**changes)
    return gate, await new_stream(gate)


async def new_stream(gate: Gate) -> Stream:
    return Stream(gate, await gate.open_stream(UIDS))


def visits(admitted):
    return [admission.visit for admission in admitted]


def came(admitted, version=0):
    """What the agreement stage tells of rows that it keeps."""
    return dict.fromkeys(visits(admitted), version)


def lost(admitted, reason):
    return dict.fromkeys(visits(admitted), reason)
