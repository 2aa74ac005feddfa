"""Replicas join while the learner waits and leave while they do; no prompt of theirs is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from actors.admission.idle_time import IdleShares, IdleTimer
from actors.generator import pool as pool_module
from actors.generator.autoscaler import WAITS, follow, wanted_change
from actors.generator.pool import GeneratorPool
from actors.generator.types import Request, Sampling
from actors.weights.update import WeightUpdate

share = st.floats(0, 1)


@given(share, share, st.integers(1, 9), st.integers(0, 2), st.integers(1, 4), st.integers(4, 9))
def test_the_number_stays_in_its_bounds_and_follows_who_waits(
    learner: float, generators: float, replicas: int, joining: int, least: int, most: int
) -> None:
    change = wanted_change(IdleShares(learner, generators, 60), replicas, joining, least, most)
    assert change in (-1, 0, 1)
    if change > 0:
        assert replicas < most and learner >= WAITS and not joining
    if change < 0:
        assert replicas > least and generators >= WAITS and not joining
    if learner >= WAITS and generators == 0 and not joining:
        assert change == (replicas < most)


def test_the_clock_adds_up_who_had_nothing_to_do() -> None:
    now = [0.0]
    clock = IdleTimer(lambda: now[0])
    for at, learner, generators in [(0, True, False), (3, False, False), (4, False, True)]:
        now[0] = at
        clock.note(learner, generators)
    now[0] = 10
    assert clock.take() == IdleShares(0.3, 0.6, 10)
    now[0] = 12
    assert clock.take() == IdleShares(0.0, 1.0, 2)


class Gate:
    """Says who waited, from a list, one entry a question; afterwards nobody."""

    def __init__(self, *answers: tuple[float, float]) -> None:
        self.answers = list(answers)
        self.idle = self

    async def remote(self) -> IdleShares:
        return IdleShares(*(self.answers.pop(0) if self.answers else (0.0, 0.0)), 60)


GROWS = {"replicas": 1, "max_replicas": 4, "timeout_s": 5.0, "scale_s": 3600.0}
"""One replica, which may become four when a test says so."""


async def until(pool: GeneratorPool, count: int) -> None:
    while len(pool.slots.ready()) != count or len(pool.slots.all) != count:
        await asyncio.sleep(0.02)


async def ask_all_the_time(pool: GeneratorPool, answers: list[int], stop: asyncio.Event) -> None:
    sampling, number = Sampling(1.0, 1.0, 4, None, ()), 0
    while not stop.is_set():
        number += 1
        (answer,) = await pool.generate([Request(str(number), [7], sampling)])
        assert answer.token_ids == [7]
        answers.append(answer.replica)


def test_it_grows_to_four_and_shrinks_to_two_while_it_works(scripted) -> None:
    async def scenario(pool: GeneratorPool, _: Path) -> None:
        answers: list[int] = []
        stop = asyncio.Event()
        asking = [asyncio.create_task(ask_all_the_time(pool, answers, stop)) for _ in range(8)]
        await pool.push(WeightUpdate(3, (), "sum-3"))
        # While a replica joins no other is asked for, so the learner goes on waiting.
        grow = asyncio.create_task(follow(pool, Gate(*[(0.9, 0.0)] * 200), 0.05))
        await until(pool, 4)
        grow.cancel()
        assert [report.version for report in await pool.reports(3)] == [3, 3, 3, 3]
        shrink = asyncio.create_task(follow(pool, Gate((0.0, 0.9), (0.0, 0.9)), 0.05))
        await until(pool, 2)
        shrink.cancel()
        stop.set()
        await asyncio.gather(*asking)
        assert {0, 1, 2, 3} <= set(answers)
        assert len(await pool.reports(3)) == 2
        told = [one.what for one in await pool.watch.drain.remote()]
        assert sum("asked for (in 60 s the learner waited 90%" in what for what in told) == 3
        assert sum("joined at version 3" in what for what in told) == 3
        assert sum(what.startswith("leaves (") for what in told) == 2

    scripted(scenario, **GROWS)


def test_a_replica_without_room_does_not_join_and_holds_nobody_up(scripted, monkeypatch) -> None:
    async def scenario(pool: GeneratorPool, _: Path) -> None:
        monkeypatch.setattr(pool_module, "START_TIMEOUT_S", 0.5)
        object.__setattr__(pool.config.generator, "cpus", 64.0)
        await pool.join("test")
        assert len(await pool.reports(0)) == 1
        await until(pool, 1)
        told = [one.what for one in await pool.watch.drain.remote()]
        assert any(what.startswith("did not join") for what in told)

    scripted(scenario, **GROWS)


def test_a_lost_replica_above_the_least_is_given_up_where_it_finds_no_room(scripted) -> None:
    async def scenario(pool: GeneratorPool, _: Path) -> None:
        await pool.join("test")
        await until(pool, 2)

        async def nobody(slot) -> None:
            raise TimeoutError("no room")

        pool._fill_any = nobody  # type: ignore[method-assign]
        (slot,) = [slot for slot in pool.slots.all if slot.index == 1]
        pool._replace(slot, slot.actor, "its node is gone")
        await until(pool, 1)
        assert len(await pool.reports(0)) == 1

    scripted(scenario, **GROWS)
